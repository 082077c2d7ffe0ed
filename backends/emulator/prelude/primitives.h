// The host half of the prelude: what an emitted kernel calls instead of PTX.
#pragma once

#include "intrinsics.h"
#include "words.h"
#include "memory.h"
#include "async.h"
#include "convert.h"
#include "mma.h"
