"""Mutants that no test can kill, by name, each with the reason: reviewed by hand."""

from __future__ import annotations

CHOOSE = "moedsl/lower/choose_schedule.py : "
WARPS_COLUMNS = "four warps share at least 64 columns whatever is proposed"
WHOLE_CTAS = "CTAs have 128 threads or a multiple, so one warp fewer than an even number is as many"
CODE_SIZE = "a hint to the compiler about the size of code"
INDENTED = "only how far a continued line is indented"
INDEPENDENT = "two lines that do not need each other"
NEAREST = "what warps can share that is nearest to one more column is nearest to these"
SIXTEENS = "heights are multiples of 16"
UNSHARED = "a tile that no grid of warps shares is refused, whatever it takes"
EIGHTS = "a warp's columns are a multiple of 8: none lies between the two steps"
WHOLE_ELEMENTS = "elements have 2 or 4 bytes: an odd byte more makes no element more"

EQUIVALENT: dict[str, str] = {
    f"{CHOOSE}Proposal(128, 256, 64, 2, (6, 4), 8) → Proposal(128, 256, 64, 2, (6, 4), 7)": (
        WHOLE_CTAS
    ),
    f"{CHOOSE}Proposal(64, 64, 64, 1, (4, 2), 4) → Proposal(64, 64, 64, 1, (4, 2), 3) #2": (
        WHOLE_CTAS
    ),
    f"{CHOOSE}Proposal(64, 128, 64, 1, (6, 3), 8) → Proposal(64, 128, 64, 1, (6, 3), 7)": (
        WHOLE_CTAS
    ),
    "moedsl/lower/fold_constants.py round_f32: struct.unpack('f', struct.pack('f', number))[0]"
    " → struct.unpack('f', struct.pack('f', number))[-1]": "one number is unpacked",
    f"{CHOOSE}Proposal(16, 64, 64, 1, (4, 2), 4, swap_ab=True)"
    " → Proposal(16, 63, 64, 1, (4, 2), 4, swap_ab=True)": WARPS_COLUMNS,
    f"{CHOOSE}Proposal(16, 64, 256, 1, (5, 4), 8, swap_ab=True)"
    " → Proposal(16, 63, 256, 1, (5, 4), 8, swap_ab=True)": WARPS_COLUMNS,
    f"{CHOOSE}Proposal(128, 64, 64, 1, (6, 3), 4) → Proposal(128, 65, 64, 1, (6, 3), 4)": NEAREST,
    f"{CHOOSE}Proposal(128, 128, 64, 2, (6, 3), 8) → Proposal(128, 129, 64, 2, (6, 3), 8)": NEAREST,
    f"{CHOOSE}Proposal(64, 64, 64, 1, (4, 2), 4) → Proposal(64, 64, 64, 1, (4, 2), 4) #2": (
        "the swapped arguments are equal: the very same program"
    ),
    f"{CHOOSE}Proposal(128, 256, 128, 2, (4, 3), 8) → Proposal(128, 256, 129, 2, (4, 3), 8)": (
        WHOLE_ELEMENTS
    ),
    f"{CHOOSE}Proposal(16, 64, 128, 1, (6, 3), 8, swap_ab=True)"
    " → Proposal(16, 64, 129, 1, (6, 3), 8, swap_ab=True)": WHOLE_ELEMENTS,
    "moedsl/lower/choose_schedule.py _high_enough: given.get('fuse_rows', 0)"
    " → given.get('fuse_rows', 1)": "the other bound, above + 1, is at least 1",
    "moedsl/lower/resources/portable.py staged_pitch: columns + 11 → columns + 12": EIGHTS,
    "moedsl/lower/resources/portable.py staged_pitch: columns + 23 → columns + 22": EIGHTS,
    f"{CHOOSE}Proposal(128, 64, 128, 1, (4, 2), 8) → Proposal(128, 64, 128, 1, (4, 2), 7)": (
        WHOLE_CTAS
    ),
    "moedsl/lower/choose_schedule.py _choose_specialised: not target.warp_specialised or wanted"
    " == 0 → not target.warp_specialised and wanted == 0": (
        "no proposal is legal without its registers, and registers are refused elsewhere anyway"
    ),
    "moedsl/lower/rules/demand.py _products_fit: max((product_flat(each, columns, swap) for each"
    " in found.layouts), default=0) → max((product_flat(each, columns, swap) for each in"
    " found.layouts), default=1)": "one position fits every product",
    "moedsl/lower/choose_schedule.py _shared_columns: _MOST_COLUMNS + 1 → _MOST_COLUMNS + 2": (
        "columns are multiples of 8"
    ),
    "moedsl/lower/choose_schedule.py _high_enough: max(given.get('tails', ()), default=0)"
    " → max(given.get('tails', ()), default=1)": "no proposal has less than two rows",
    "moedsl/lower/resources/portable.py portable_resources: max((STAGED_ROWS *"
    " staged_pitch(tile.columns // layout.columns, step) * 4 * sums for layout in layouts),"
    " default=0) → max((STAGED_ROWS * staged_pitch(tile.columns // layout.columns, step) * 4 *"
    " sums for layout in layouts), default=-1)": UNSHARED,
    "moedsl/lower/propose_specialised.py : Shape(32, (8, 3)) → Shape(33, (8, 3))": SIXTEENS,
    "moedsl/lower/propose_specialised.py : _LEAST_ROWS = 32 → _LEAST_ROWS = 31": SIXTEENS,
    "moedsl/lower/propose_specialised.py : _MOST_ROWS_ALONE = 128 → _MOST_ROWS_ALONE = 129": (
        SIXTEENS
    ),
    "moedsl/lower/propose_specialised.py _tile: shape.rows > TALL → shape.rows >= TALL": (
        "no shape has 64 rows"
    ),
    "backends/cuda/emission/groups.py emit_groups: writer.lines('// How the consumers share a"
    " tile, by its height.', 'template <int kHeight>') → writer.lines('template <int kHeight>',"
    " '// How the consumers share a tile, by its height.')": "a comment stands one line lower",
    "moedsl/lower/resources/portable.py portable_resources: max((_registers(layout, schedule,"
    " multiplies, threads, compute) for layout in layouts), default=0) → max((_registers(layout,"
    " schedule, multiplies, threads, compute) for layout in layouts), default=-1)": (UNSHARED),
    "backends/cuda/lower/open_pipelines.py _pipeline: "
    "Buffer(name, Side.COLUMNS, tile.columns, tile.depth, True)"
    " → Buffer(name, Side.COLUMNS, tile.columns, tile.depth, False)": (
        "every buffer is made again with its orientation before it is used"
    ),
    "backends/cuda/emission/producer.py _emit_copies: plus('base', buffer.offset)"
    " → plus(buffer.offset, 'base')": "a sum the other way round",
    "backends/cuda/emission/groups.py _emit_join: writer.lines(f'constexpr int kSums ="
    " {len(names)};', 'constexpr int kSumFloats = Order::kTileRows * Order::kTileColumns'"
    " + (f' / {sharing};' if sharing > 1 else ';'), 'constexpr moe::i64 kSplitFloats = kSums *"
    " kSumFloats;', f'const int share = {share};  // what this consumer has of all tiles',"
    " 'float* const splits = arguments.partials + share * (kSplits * kSplitFloats);',"
    " 'float* const own = splits + tile.split * kSplitFloats;') → writer.lines('constexpr int"
    " kSumFloats = Order::kTileRows * Order::kTileColumns' + (f' / {sharing};' if sharing > 1"
    " else ';'), f'constexpr int kSums = {len(names)};', 'constexpr moe::i64 kSplitFloats = kSums"
    " * kSumFloats;', f'const int share = {share};  // what this consumer has of all tiles',"
    " 'float* const splits = arguments.partials + share * (kSplits * kSplitFloats);',"
    " 'float* const own = splits + tile.split * kSplitFloats;')": INDEPENDENT,
    "backends/cuda/emission/writer.py Writer.line: len(indent) + len(text) > _WIDTH"
    " → len(indent) + len(text) >= _WIDTH": "only how long a line may be that is not broken",
    "backends/cuda/emission/writer.py Writer.line: self._depth + 2 → self._depth + 1": INDENTED,
    "backends/cuda/emission/writer.py Writer.line: self._depth + 2 → self._depth - 2": INDENTED,
    "backends/cuda/emission/groups.py emit_consumer: writer.line('MOE_ROLL') → pass": CODE_SIZE,
    "backends/cuda/emission/epilogue.py emit_store_tile: writer.line('MOE_ROLL') → pass": CODE_SIZE,
    "backends/cuda/emission/epilogue.py emit_store_tile: writer.lines('const int row = Wa"
    "rps<kHeight>::row() + chunk * 8 + v / kPerRow;', 'const int column = Warps<kHeight>:"
    ":column() + v % kPerRow * kVector;', outside(kernel), 'const moe::u32 at = staged + "
    "(v / kPerRow * Sums::kPitch + v % kPerRow * kVector) * 4;') → writer.lines('const in"
    "t column = Warps<kHeight>::column() + v % kPerRow * kVector;', 'const int row = Warp"
    "s<kHeight>::row() + chunk * 8 + v / kPerRow;', outside(kernel), 'const moe::u32 at ="
    " staged + (v / kPerRow * Sums::kPitch + v % kPerRow * kVector) * 4;')": (INDEPENDENT),
    "backends/cuda/emission/consumer.py _emit_tensor_loop: writer.line('MOE_UNROLL') → pass": (
        CODE_SIZE
    ),
    "backends/cuda/emission/tensor_store.py _emit_stage_part:"
    " writer.line('if (j >= Sums::eights(part)) continue;') → pass": (
        "rows behind a consumer's are clipped when they are stored: only work is saved"
    ),
    "backends/cuda/emission/fills.py _emit_fill: any((copy.way is CopyWay.MAPPED for copy in"
    " fill.body)) → all((copy.way is CopyWay.MAPPED for copy in fill.body))": (
        "rows are one copy, and columns never come through a map"
    ),
    f"{CHOOSE}Proposal(32, 128, 64, 1, (6, 3), 8, swap_ab=True)"
    " → Proposal(32, 127, 64, 1, (6, 3), 8, swap_ab=True)": (
        "the nearest columns that the warps can share are 128"
    ),
    "backends/cuda/emission/groups.py emit_turns: writer.lines(f'const int next = group + 1 =="
    " {consumers} ? 0 : group + 1;', '// A tile without depth has no product for which all lanes"
    " have met.', 'moe::sync_warp();', 'if (moe::lane_index() == 0) moe::barrier_arrive(kTurn +"
    " next * 8);') → writer.lines('// A tile without depth has no product for which all lanes"
    " have met.', f'const int next = group + 1 == {consumers} ? 0 : group + 1;',"
    " 'moe::sync_warp();', 'if (moe::lane_index() == 0) moe::barrier_arrive(kTurn + next * 8);')": (
        "a comment stands one line higher"
    ),
    f"{CHOOSE}Proposal(48, 128, 128, 1, (4, 3), 8, swap_ab=True)"
    " → Proposal(48, 128, 129, 1, (4, 3), 8, swap_ab=True)": WHOLE_ELEMENTS,
    "moedsl/lower/propose_specialised.py : (128, 112, 96) → (129, 112, 96)": SIXTEENS,
    "backends/cuda/emission/producer.py emit_producer: len(kernel.pipelines) > 1"
    " → len(kernel.pipelines) >= 1": "of one sum, its number would be kept where nothing reads it",
    (
        "moedsl/lower/resources/model.py lay_out: kernel: TileKernel, stage_bytes: int, stagi"
        "ng_bytes: int, owners: int, ring_slots: int, least_stage_bytes: int | None=None, tur"
        "ns: int=0 → kernel: TileKernel, stage_bytes: int, staging_bytes: int, owners: int, r"
        "ing_slots: int, least_stage_bytes: int | None=None, turns: int=1"
    ): "nobody takes turns where stages have no mbarriers",
    "backends/cuda/emission/fills.py _emit_boxes: len(heights) > 1 → len(heights) >= 1": (
        "the index of an only height is 0"
    ),
    "backends/cuda/emission/groups.py emit_consumer: writer.lines('moe::Ring<kRingSlots> tiles;',"
    " 'Stages stages;') → writer.lines('Stages stages;',"
    " 'moe::Ring<kRingSlots> tiles;')": INDEPENDENT,
    "backends/cuda/emission/tensor_store.py _unrolls_parts:"
    " kernel.signature.tensor(s.access.tensor).dtype.bytes >= 4"
    " → kernel.signature.tensor(s.access.tensor).dtype.bytes > 4": CODE_SIZE,
    "backends/cuda/emission/tensor_store.py _emit_kept: writer.lines('int slot = -1;', 'moe::u32"
    " base = 0;', 'moe::Tile tile{};', 'int end = 0;  // of the rows to store', 'int parts = 0;"
    "  // of 64 columns') → writer.lines('moe::u32 base = 0;', 'int slot = -1;', 'moe::Tile"
    " tile{};', 'int end = 0;  // of the rows to store', 'int parts = 0;"
    "  // of 64 columns')": INDEPENDENT,
    "backends/cuda/emission/fills.py _emit_tensor_copies: any((sharing(kernel.schedule, b) is not"
    " Sharing.NEVER for _, b in copies)) → all((sharing(kernel.schedule, b) is not Sharing.NEVER"
    " for _, b in copies))": "all that a producer brings in is of one side, and shared alike",
}
