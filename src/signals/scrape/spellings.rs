//! How a target writes its series: which slot each text stands for.
//!
//! A target may have a hundred thousand of them, so the texts themselves are not kept but 96 bits of each: a hash with a
//! key that nobody outside knows, and a checksum. That two texts of one target have the same ones does not happen.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// Texts by number. A number stays with its text until the text is forgotten.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    all: Vec<Spelling>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    hasher: RandomState,
}

/// What is kept of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    hash: u64,
    sum: u32,
}

#[derive(Debug)]
struct Spelling {
    hash: u64,
    sum: u32,
    slot: u32,
}

impl Spelling {
    fn key(&self) -> Key {
        Key { hash: self.hash, sum: self.sum }
    }
}

impl Spellings {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn key(&self, text: &[u8]) -> Key {
        Key { hash: self.hasher.hash_one(text), sum: crc32fast::hash(text) }
    }

    /// Whether a number stands for the text of a key.
    pub(super) fn is(&self, spelling: u32, key: Key) -> bool {
        self.all[spelling as usize].key() == key
    }

    pub(super) fn slot(&self, spelling: u32) -> u32 {
        self.all[spelling as usize].slot
    }

    pub(super) fn find(&self, key: Key) -> Option<u32> {
        self.by_key.find(key.hash, |spelling| self.is(*spelling, key)).copied()
    }

    /// Takes in a text that is not there yet.
    pub(super) fn insert(&mut self, Key { hash, sum }: Key, slot: u32) -> u32 {
        let new = Spelling { hash, sum, slot };
        let number = match self.free.pop() {
            Some(number) => {
                self.all[number as usize] = new;
                number
            }
            None => {
                self.all.push(new);
                (self.all.len() - 1) as u32
            }
        };
        let all = &self.all;
        self.by_key.insert_unique(hash, number, |spelling| all[*spelling as usize].hash);
        number
    }

    /// Forgets the texts whose slots do not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(u32) -> bool) {
        let (all, free) = (&self.all, &mut self.free);
        self.by_key.retain(|spelling| {
            let stays = stays(all[*spelling as usize].slot);
            if !stays {
                free.push(*spelling);
            }
            stays
        });
    }

    /// Gives back room that is not used.
    pub(super) fn tidy(&mut self) {
        tidy(&mut self.all);
    }
}

/// Gives back the room of a list that is not used, if it is worth it.
pub(super) fn tidy<T>(list: &mut Vec<T>) {
    if list.capacity() > list.len() + list.len() / 4 + 64 {
        list.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_numbers_while_others_come_and_go() {
        let mut spellings = Spellings::default();
        let text = |number: u32| format!("a_series_{number}{{}}").into_bytes();
        let mut numbers: Vec<(u32, u32)> = Vec::new();
        for round in 0..20_u32 {
            for slot in round * 10..round * 10 + 10 {
                let key = spellings.key(&text(slot));
                assert_eq!(spellings.find(key), None);
                numbers.push((slot, spellings.insert(key, slot)));
            }
            let stays = |slot: u32| slot.is_multiple_of(7) || slot >= round * 10;
            spellings.retain(stays);
            numbers.retain(|(slot, _)| stays(*slot));
            assert_eq!(spellings.len(), numbers.len());
            for (slot, number) in &numbers {
                let key = spellings.key(&text(*slot));
                assert_eq!(spellings.find(key), Some(*number));
                assert_eq!((spellings.is(*number, key), spellings.slot(*number)), (true, *slot));
                assert!(!spellings.is(*number, spellings.key(b"another")));
            }
        }
        assert!(spellings.all.len() <= 60, "places are used again");
    }
}
