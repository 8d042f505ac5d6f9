//! How a target writes its series: each text once, one behind the other, and which slot it stands for.
//!
//! A target may have a hundred thousand of them, so there is neither an allocation nor a copy for each. Texts that are
//! forgotten leave gaps, which are closed when they are half of everything.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// Texts by number. A number stays with its text until the text is forgotten.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    texts: Vec<u8>,
    /// Bytes of `texts` that nobody reads any more.
    gaps: usize,
    all: Vec<Spelling>,
    free: Vec<u32>,
    by_text: HashTable<u32>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Spelling {
    start: usize,
    length: u32,
    slot: u32,
}

impl Spelling {
    fn of<'t>(&self, texts: &'t [u8]) -> &'t [u8] {
        &texts[self.start..self.start + self.length as usize]
    }
}

impl Spellings {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_text.len()
    }

    pub(super) fn text(&self, spelling: u32) -> &[u8] {
        self.all[spelling as usize].of(&self.texts)
    }

    pub(super) fn slot(&self, spelling: u32) -> u32 {
        self.all[spelling as usize].slot
    }

    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        self.by_text.find(self.hasher.hash_one(text), |spelling| self.text(*spelling) == text).copied()
    }

    /// Takes in a text that is not there yet.
    pub(super) fn insert(&mut self, text: &[u8], slot: u32) -> u32 {
        // A line is at most as long as a body may be, which is far less than four gigabytes.
        let new = Spelling { start: self.texts.len(), length: text.len() as u32, slot };
        self.texts.extend_from_slice(text);
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
        let (texts, all, hasher) = (&self.texts, &self.all, &self.hasher);
        let hash = |spelling: &u32| hasher.hash_one(all[*spelling as usize].of(texts));
        self.by_text.insert_unique(hash(&number), number, hash);
        number
    }

    /// Forgets the texts whose slots do not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(u32) -> bool) {
        let (all, free, gaps) = (&self.all, &mut self.free, &mut self.gaps);
        self.by_text.retain(|spelling| {
            let known = &all[*spelling as usize];
            let stays = stays(known.slot);
            if !stays {
                free.push(*spelling);
                *gaps += known.length as usize;
            }
            stays
        });
        if self.gaps > self.texts.len() / 2 {
            self.close_gaps();
        }
    }

    fn close_gaps(&mut self) {
        let mut texts = Vec::with_capacity(self.texts.len() - self.gaps);
        for spelling in &self.by_text {
            let known = &mut self.all[*spelling as usize];
            let start = texts.len();
            texts.extend_from_slice(known.of(&self.texts));
            known.start = start;
        }
        (self.texts, self.gaps) = (texts, 0);
    }

    /// Gives back room that is not used.
    pub(super) fn tidy(&mut self) {
        tidy(&mut self.texts);
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
                assert_eq!(spellings.find(&text(slot)), None);
                numbers.push((slot, spellings.insert(&text(slot), slot)));
            }
            let stays = |slot: u32| slot.is_multiple_of(7) || slot >= round * 10;
            spellings.retain(stays);
            numbers.retain(|(slot, _)| stays(*slot));
            assert_eq!(spellings.len(), numbers.len());
            for (slot, number) in &numbers {
                assert_eq!(spellings.find(&text(*slot)), Some(*number));
                assert_eq!((spellings.text(*number), spellings.slot(*number)), (&*text(*slot), *slot));
            }
        }
        let live: usize = numbers.iter().map(|(slot, _)| text(*slot).len()).sum();
        assert!(spellings.texts.len() <= 2 * live + 200, "gaps are closed");
    }
}
