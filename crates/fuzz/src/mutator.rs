//! Valid input, broken a little.
//!
//! Purely random bytes are refused at the first check. What is one flipped length, one repeated
//! line or one cut away from valid gets further.

use std::ops::Range;

/// Numbers at which lengths and counts go wrong.
const NUMBERS: [u64; 12] = [
    0,
    1,
    7,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    0xFFFF_FFFF_FFFF_FFF7,
    u64::MAX,
];

/// Changes of one input, at most.
const MAX_CHANGES: usize = 6;

/// Makes broken input out of valid input.
#[derive(Clone, Debug)]
pub struct Mutator {
    random: fastrand::Rng,
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Mutator {
    /// From valid inputs; the same seed makes the same inputs.
    ///
    /// # Panics
    /// Without one input.
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Self {
        assert!(!seeds.is_empty(), "at least one input is needed");
        Self { random: fastrand::Rng::with_seed(seed), seeds, words: Vec::new() }
    }

    /// Words that mean something to the reader, to be written into inputs.
    #[must_use]
    pub fn with_words<W: AsRef<[u8]>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_vec()));
        self
    }

    /// The next broken input; now and then one that is whole.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.random.choice(&self.seeds).cloned().unwrap_or_default();
        for _ in 0..self.random.usize(..=MAX_CHANGES) {
            self.change(&mut input);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.usize(..=input.len());
        match self.random.u8(..10) {
            0 => self.flip_a_bit(input),
            1 => self.overwrite(input, at),
            2 => input.truncate(at),
            3 => drop(input.drain(self.range(input.len()))),
            4 => {
                let copied = input[self.range(input.len())].to_vec();
                insert(input, at, &copied);
            }
            5 => {
                let other = self.random.choice(&self.seeds).cloned().unwrap_or_default();
                let taken = &other[self.range(other.len())];
                insert(input, at, taken);
            }
            6 => self.write_a_word(input, at),
            7 => self.swap_lines(input),
            8 => {
                let bytes: Vec<u8> =
                    (0..self.random.usize(1..9)).map(|_| self.random.u8(..)).collect();
                insert(input, at, &bytes);
            }
            _ => self.write_a_number(input),
        }
    }

    fn flip_a_bit(&mut self, input: &mut [u8]) {
        if !input.is_empty() {
            input[self.random.usize(..input.len())] ^= 1 << self.random.u8(..8);
        }
    }

    /// A number in binary, over what was there.
    fn overwrite(&mut self, input: &mut [u8], at: usize) {
        let number = self.number().to_le_bytes();
        let width = [1, 2, 4, 8][self.random.usize(..4)];
        let width = width.min(input.len() - at);
        input[at..at + width].copy_from_slice(&number[..width]);
    }

    fn write_a_word(&mut self, input: &mut Vec<u8>, at: usize) {
        if let Some(word) = self.random.choice(&self.words).cloned() {
            insert(input, at, &word);
        }
    }

    /// A number in digits, in place of one that is there.
    fn write_a_number(&mut self, input: &mut Vec<u8>) {
        let starts: Vec<usize> = (0..input.len()).filter(|&i| input[i].is_ascii_digit()).collect();
        let Some(&start) = self.random.choice(&starts) else { return };
        let digits = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let sign = if self.random.bool() { "-" } else { "" };
        let number = match self.random.u8(..4) {
            0 => "1e999".to_owned(),
            1 => "nan".to_owned(),
            _ => format!("{sign}{}", self.number()),
        };
        input.splice(start..start + digits, number.into_bytes());
    }

    fn swap_lines(&mut self, input: &mut Vec<u8>) {
        let mut lines: Vec<&[u8]> = input.split_inclusive(|&byte| byte == b'\n').collect();
        if lines.len() > 1 {
            let (a, b) = (self.random.usize(..lines.len()), self.random.usize(..lines.len()));
            lines.swap(a, b);
            *input = lines.concat();
        }
    }

    fn number(&mut self) -> u64 {
        let near = NUMBERS[self.random.usize(..NUMBERS.len())];
        near.wrapping_add(self.random.u64(..3)).wrapping_sub(1)
    }

    /// A stretch of `length` bytes, mostly a short one.
    fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.random.usize(..=length);
        let most = if self.random.u8(..4) == 0 { length } else { 32 };
        start..start + self.random.usize(..=most.min(length - start))
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &[u8] = b"side = 64\nlist = [1, 2]\nname = \"hall\"\n";

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_another_makes_others() {
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, vec![SEED.to_vec()]).with_words(["width"]);
            (0..50).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(3), inputs(3));
        assert_ne!(inputs(3), inputs(4));
    }

    #[test]
    fn inputs_are_near_the_seeds_and_mostly_broken() {
        let mut mutator = Mutator::new(0, vec![SEED.to_vec(), Vec::new()]).with_words(["width"]);
        let inputs: Vec<Vec<u8>> = (0..2000).map(|_| mutator.next_input()).collect();
        let whole = inputs.iter().filter(|input| *input == SEED || input.is_empty()).count();
        assert!((50..1200).contains(&whole), "{whole}");
        let holds = |what: &[u8]| inputs.iter().any(|i| i.windows(what.len()).any(|w| w == what));
        assert!(holds(b"width") && holds(b"1e999") && holds(b"18446744073709551615"));
        assert!(inputs.iter().all(|input| input.len() < 20 * SEED.len()));
    }
}
