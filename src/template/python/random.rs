//! Python's `random.Random(seed)`: the Mersenne Twister, so that a seed picks what Ansible picks.

use sha2::{Digest, Sha512};

const N: usize = 624;
const M: usize = 397;

pub(crate) struct Random {
    state: [u32; N],
    index: usize,
}

impl Random {
    /// Seeded with text, as Python seeds with a string (version 2): its bytes, then their SHA-512, as one number.
    pub fn from_text(text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.extend(Sha512::digest(text.as_bytes()));
        Random::from_bytes(&bytes)
    }

    pub fn from_int(seed: i128) -> Self {
        Random::from_bytes(&seed.unsigned_abs().to_be_bytes())
    }

    /// A number in big-endian bytes becomes the 32-bit words of the key, the lowest first.
    fn from_bytes(bytes: &[u8]) -> Self {
        let mut key: Vec<u32> = bytes
            .rchunks(4)
            .map(|c| c.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
            .collect();
        while key.len() > 1 && key.last() == Some(&0) {
            key.pop();
        }
        let mut r = Random {
            state: [0; N],
            index: N,
        };
        let s = &mut r.state;
        s[0] = 19_650_218;
        for i in 1..N {
            s[i] = 1_812_433_253u32
                .wrapping_mul(s[i - 1] ^ (s[i - 1] >> 30))
                .wrapping_add(u32::try_from(i).unwrap_or(0));
        }
        let (mut i, mut j) = (1, 0);
        for _ in 0..N.max(key.len()) {
            s[i] = (s[i] ^ (s[i - 1] ^ (s[i - 1] >> 30)).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(u32::try_from(j).unwrap_or(0));
            i += 1;
            j = (j + 1) % key.len();
            if i == N {
                s[0] = s[N - 1];
                i = 1;
            }
        }
        for _ in 1..N {
            s[i] = (s[i] ^ (s[i - 1] ^ (s[i - 1] >> 30)).wrapping_mul(1_566_083_941))
                .wrapping_sub(u32::try_from(i).unwrap_or(0));
            i += 1;
            if i == N {
                s[0] = s[N - 1];
                i = 1;
            }
        }
        s[0] = 0x8000_0000;
        r
    }

    fn next(&mut self) -> u32 {
        if self.index >= N {
            for i in 0..N {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
            }
            self.index = 0;
        }
        let mut y = self.state[self.index];
        self.index += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn bits(&mut self, k: u32) -> u64 {
        if k <= 32 {
            return u64::from(self.next() >> (32 - k));
        }
        let low = u64::from(self.next());
        low | u64::from(self.next() >> (64 - k)) << 32
    }

    /// A number below `n` (which must not be 0).
    pub fn below(&mut self, n: u64) -> u64 {
        let k = 64 - n.leading_zeros();
        loop {
            let r = self.bits(k);
            if r < n {
                return r;
            }
        }
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = usize::try_from(self.below(i as u64 + 1)).unwrap_or(0);
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn numbers_are_pythons() {
        // python3 -c "import random; r = random.Random('mq-1'); print([r.randrange(60) for _ in range(4)])"
        let mut r = Random::from_text("mq-1");
        let four: Vec<u64> = (0..4).map(|_| r.below(60)).collect();
        assert_eq!(four, PYTHON_TEXT);
        let mut r = Random::from_int(42);
        let four: Vec<u64> = (0..4).map(|_| r.below(100)).collect();
        assert_eq!(four, [81, 14, 3, 94]);
    }

    const PYTHON_TEXT: [u64; 4] = [21, 57, 36, 10];
}
