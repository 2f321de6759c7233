//! [`Deadlines`]: one deadline per slot of a slab, set and taken away in constant time.
//!
//! Four bytes per slot: each slot has its deadline, each 64 of them the earliest, each 64 of those
//! the earliest again. What has expired is found from the top, by going down only where something
//! is that early:
//!
//! ```text
//! floor 2   7                                     the earliest of 64 groups below, or earlier
//! floor 1   7             40            never     the earliest of 64 slots below, or earlier
//! floor 0   9 never 12 …  90 never 41 … never …   the deadlines
//! ```
//!
//! A deadline that is put off or taken away leaves what stands above it too early. That is set
//! right when its time comes, at the cost of one look. Who owns a timer that is pushed back often
//! (an idle timeout) leaves it where it is, and sets it again when it expires too early.

use super::{Key, Tick, room};

/// One deadline per index.
#[derive(Debug)]
pub struct Deadlines {
    // Invariant: what stands for a group is no later than the earliest of the group. A slot
    // without a deadline has `Tick::NEVER`, and so have those behind the end.
    floors: [Vec<Tick>; FLOORS],
    // Invariant: no later than the earliest of all.
    next: Tick,
    // Every deadline up to and including this tick has been reported.
    swept: Tick,
    len: usize,
}

impl Deadlines {
    /// None yet. Their time begins at `now`.
    #[must_use]
    pub fn new(now: Tick) -> Self {
        let mut floors = [const { Vec::new() }; FLOORS];
        floors[0] = Vec::with_capacity(room::<Tick>());
        Self { floors, next: Tick::NEVER, swept: now, len: 0 }
    }

    /// Sets the deadline of `index`, instead of the one it had.
    ///
    /// A deadline that is past expires with the next tick.
    ///
    /// # Panics
    /// If `index` is not below [`Key::MAX_INDEX`].
    pub fn set(&mut self, index: usize, deadline: Tick) {
        assert!(index < Key::MAX_INDEX as usize, "an index of a slab");
        self.cancel(index);
        if deadline == Tick::NEVER {
            return;
        }
        self.len += 1;
        let mut place = index;
        for floor in &mut self.floors {
            if floor.len() <= place {
                floor.resize(place + 1, Tick::NEVER);
            }
            if floor[place] <= deadline {
                // What stands above is no later than this.
                return;
            }
            floor[place] = deadline;
            place /= GROUP;
        }
        self.next = self.next.min(deadline);
    }

    /// Takes the deadline of `index` away, if it has one.
    pub fn cancel(&mut self, index: usize) {
        if let Some(deadline) = self.floors[0].get_mut(index)
            && *deadline != Tick::NEVER
        {
            *deadline = Tick::NEVER;
            self.len -= 1;
        }
    }

    /// The deadline of `index`; [`Tick::NEVER`] if it has none.
    #[inline]
    #[must_use]
    pub fn at(&self, index: usize) -> Tick {
        self.floors[0].get(index).copied().unwrap_or(Tick::NEVER)
    }

    /// Takes every deadline up to and including `now`, and appends its index to `expired`.
    pub fn expire(&mut self, now: Tick, expired: &mut Vec<usize>) {
        if now <= self.swept {
            return;
        }
        self.swept = now;
        if self.next <= now {
            let before = expired.len();
            self.next = self.expire_group(FLOORS - 1, 0, now, expired);
            self.len -= expired.len() - before;
        }
    }

    /// When to look again: a tick before which nothing expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Tick> {
        (self.len > 0).then(|| self.next.max(Tick(self.swept.0.saturating_add(1))))
    }

    /// Takes what has expired of one group, and returns the earliest of what is left of it.
    fn expire_group(
        &mut self,
        floor: usize,
        group: usize,
        now: Tick,
        expired: &mut Vec<usize>,
    ) -> Tick {
        let mut earliest = Tick::NEVER;
        let end = self.floors[floor].len().min((group + 1) * GROUP);
        for place in group * GROUP..end {
            let mut deadline = self.floors[floor][place];
            if deadline <= now {
                deadline = match floor.checked_sub(1) {
                    Some(below) => self.expire_group(below, place, now, expired),
                    None => {
                        expired.push(place);
                        Tick::NEVER
                    }
                };
                self.floors[floor][place] = deadline;
            }
            earliest = earliest.min(deadline);
        }
        earliest
    }
}

/// How many stand below one.
const GROUP: usize = 64;
/// So many that the highest floor is one group.
const FLOORS: usize = 4;

const _: () = assert!(FLOORS == 4 && GROUP * GROUP * GROUP * GROUP == Key::MAX_INDEX as usize);

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_deadline_expires_at_its_tick_and_once() {
        let mut deadlines = Deadlines::new(Tick(10));
        let mut expired = Vec::new();
        deadlines.set(3, Tick(12));
        deadlines.expire(Tick(11), &mut expired);
        assert_eq!(expired, []);
        deadlines.expire(Tick(12), &mut expired);
        deadlines.expire(Tick(5000), &mut expired);
        assert_eq!(expired, [3]);
        assert_eq!(deadlines.next_expiry(), None);
    }

    #[test]
    fn one_that_is_past_expires_with_the_next_tick() {
        let mut deadlines = Deadlines::new(Tick(10));
        let mut expired = Vec::new();
        deadlines.set(3, Tick(4));
        assert_eq!(deadlines.next_expiry(), Some(Tick(11)));
        deadlines.expire(Tick(11), &mut expired);
        assert_eq!(expired, [3]);
    }

    #[test]
    fn an_index_of_which_all_floors_know_has_its_deadline_too() {
        let mut deadlines = Deadlines::new(Tick(0));
        let (last, mut expired) = (GROUP.pow(3), Vec::new());
        deadlines.set(last, Tick(7));
        deadlines.set(0, Tick(9));
        assert_eq!(deadlines.next_expiry(), Some(Tick(7)));
        deadlines.expire(Tick(7), &mut expired);
        assert_eq!((&expired[..], deadlines.next_expiry()), (&[last][..], Some(Tick(9))));
    }

    #[test]
    fn what_was_put_off_costs_one_look_at_its_former_time() {
        let mut deadlines = Deadlines::new(Tick(0));
        for index in 0..1000 {
            deadlines.set(index, Tick(5));
            deadlines.set(index, Tick(50));
        }
        let mut expired = Vec::new();
        assert_eq!(deadlines.next_expiry(), Some(Tick(5)));
        deadlines.expire(Tick(5), &mut expired);
        assert_eq!((expired.len(), deadlines.next_expiry()), (0, Some(Tick(50))));
    }

    #[test]
    fn behaves_like_a_map_of_deadlines() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut deadlines = Deadlines::new(Tick(0));
        let mut model: BTreeMap<usize, u32> = BTreeMap::new();
        let mut now = 0;
        for _ in 0..if cfg!(miri) { 2_000 } else { 200_000 } {
            // In four groups of the lowest floor, and two of the next.
            let index = (draw(50) * 100) as usize;
            match draw(4) {
                0 | 1 => {
                    let deadline = now + 1 + draw(3000) as u32;
                    deadlines.set(index, Tick(deadline));
                    model.insert(index, deadline);
                }
                2 => {
                    deadlines.cancel(index);
                    model.remove(&index);
                }
                _ => {
                    now += draw(40) as u32 * draw(40) as u32;
                    let mut expired = Vec::new();
                    deadlines.expire(Tick(now), &mut expired);
                    let due: Vec<usize> =
                        model.iter().filter(|(_, at)| **at <= now).map(|(i, _)| *i).collect();
                    assert_eq!(expired, due);
                    model.retain(|_, at| *at > now);
                }
            }
            assert_eq!(deadlines.at(index), model.get(&index).map_or(Tick::NEVER, |at| Tick(*at)));
            let next = deadlines.next_expiry().map(|tick| tick.0);
            assert_eq!(next.is_none(), model.is_empty());
            assert!(model.values().min().is_none_or(|first| next <= Some(*first)));
        }
    }
}
