//! Times the hot pieces of the engine, each by itself: `cargo bench -p bench --all-features`.

use divan::Bencher;
use divan::counter::ItemsCount;
use pieces::Piece;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// Runs rounds of a piece.
#[divan::bench(args = &pieces::ALL)]
fn piece(bencher: Bencher<'_, '_>, piece: &Piece) {
    let mut round = (piece.open)().expect("a piece can be opened");
    bencher.counter(ItemsCount::new(pieces::RECORDS)).bench_local(|| round().expect("a round can be repeated"));
}
