//! Numbers that look random and come again from the same seed (SplitMix64).

/// The source of them.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `below - 1`.
    pub fn below(&mut self, below: usize) -> usize {
        (self.next() % below.max(1) as u64) as usize
    }

    /// True that often in a hundred times.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Some of them, at least one, in their order.
    pub fn some<T: Copy>(&mut self, from: &[T], most: usize) -> Vec<T> {
        let wanted = 1 + self.below(most.min(from.len()));
        let mut left = from.len();
        let mut chosen = Vec::new();
        for item in from {
            if self.below(left) < wanted - chosen.len() {
                chosen.push(*item);
            }
            left -= 1;
        }
        chosen
    }
}
