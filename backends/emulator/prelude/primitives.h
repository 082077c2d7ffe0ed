// The host half of the prelude: what an emitted kernel calls instead of PTX.
#pragma once

#include "intrinsics.h"
#include "words.h"
#include "memory.h"
#include "async.h"
#include "convert.h"
#include "mma.h"
#include "hopper_barrier.h"
#include "hopper_cluster.h"
#include "hopper_bulk.h"
#include "hopper_tensor.h"
#include "hopper_warp.h"
#include "hopper_flags.h"
#include "hopper_launch.h"
#include "hopper_wgmma.h"
