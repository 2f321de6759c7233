//! [`TimerWheel`]: one deadline per slot of a slab, set and cancelled in constant time.
//!
//! The wheel is a ring of doubly linked lists whose links stand in one array, indexed like the
//! slab: 16 bytes per slot, no allocation per timer. A deadline further away than one round
//! waits in its list for as many rounds as it takes. Who owns a timer that is pushed back often (an
//! idle timeout) leaves it where it is, and sets it again when it expires too early.

#![allow(clippy::cast_possible_truncation, reason = "slab indices take 24 bits, slots 10")]

use super::room;

/// Coarse time: a count of [`Tick::MILLISECONDS`] since the reactor began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u32);

impl Tick {
    /// Length of a tick. At this length 32 bits last for four years.
    pub const MILLISECONDS: u32 = 32;

    /// The tick that has begun at this time.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "4 years of ticks")]
    pub fn at(since_start: std::time::Duration) -> Self {
        Self((since_start.as_millis() / u128::from(Self::MILLISECONDS)) as u32)
    }

    /// The first tick that is certainly not earlier than `duration` after this one.
    #[must_use]
    pub fn after(self, duration: std::time::Duration) -> Self {
        let ticks = duration.as_millis().div_ceil(u128::from(Self::MILLISECONDS));
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).saturating_add(1);
        Self(self.0.saturating_add(ticks))
    }

    /// Time from this tick's begin to the begin of `later`; zero if that is past.
    #[must_use]
    pub fn until(self, later: Self) -> std::time::Duration {
        let ticks = u64::from(later.0.saturating_sub(self.0));
        std::time::Duration::from_millis(ticks * u64::from(Self::MILLISECONDS))
    }
}

/// One deadline per index.
#[derive(Debug)]
pub struct TimerWheel {
    // Invariant: each list is circular through its head; heads[slot] is NIL or an index whose
    // deadline modulo SLOTS is the slot.
    heads: Box<[u32]>,
    links: Vec<Link>,
    // Every deadline up to and including this tick has been reported.
    swept: Tick,
    // Invariant: no armed deadline's slot comes up before this tick.
    next: Tick,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    next: u32,
    previous: u32,
    deadline: Tick,
    armed: bool,
}

impl TimerWheel {
    /// An empty wheel whose time begins at `now`.
    #[must_use]
    pub fn new(now: Tick) -> Self {
        let links = Vec::with_capacity(room::<Link>());
        Self { heads: vec![NIL; SLOTS].into(), links, swept: now, next: now, len: 0 }
    }

    /// Sets the deadline of `index`, instead of the one it had.
    ///
    /// A deadline that is past expires with the next tick.
    #[allow(clippy::cast_possible_truncation, reason = "slab indices take 24 bits")]
    pub fn set(&mut self, index: usize, deadline: Tick) {
        self.cancel(index);
        if index >= self.links.len() {
            self.links.resize(index + 1, Link::UNARMED);
        }
        let deadline = deadline.max(Tick(self.swept.0.saturating_add(1)));
        let (head, index) = (&mut self.heads[slot_of(deadline)], index as u32);
        if *head == NIL {
            *head = index;
            self.links[index as usize] =
                Link { next: index, previous: index, deadline, armed: true };
        } else {
            let (first, last) = (*head, self.links[*head as usize].previous);
            self.links[index as usize] =
                Link { next: first, previous: last, deadline, armed: true };
            self.links[last as usize].next = index;
            self.links[first as usize].previous = index;
        }
        self.len += 1;
        self.next = self.next.min(deadline);
    }

    /// Takes the deadline of `index` away, if it has one.
    #[allow(clippy::cast_possible_truncation, reason = "slab indices take 24 bits")]
    pub fn cancel(&mut self, index: usize) {
        let Some(link) = self.links.get_mut(index).filter(|link| link.armed) else { return };
        link.armed = false;
        let link = *link;
        let head = &mut self.heads[slot_of(link.deadline)];
        if *head == index as u32 {
            *head = if link.next == *head { NIL } else { link.next };
        }
        self.links[link.previous as usize].next = link.next;
        self.links[link.next as usize].previous = link.previous;
        self.len -= 1;
    }

    /// The deadline of `index`.
    #[must_use]
    pub fn deadline(&self, index: usize) -> Option<Tick> {
        self.links.get(index).filter(|link| link.armed).map(|link| link.deadline)
    }

    /// Takes every deadline up to and including `now`, and appends its index to `expired`.
    pub fn expire(&mut self, now: Tick, expired: &mut Vec<usize>) {
        if now <= self.swept {
            return;
        }
        if self.len > 0 && self.next <= now {
            let first = self.next.max(Tick(self.swept.0.saturating_add(1)));
            let ticks = (now.0 - first.0).saturating_add(1).min(SLOTS as u32);
            self.swept = now;
            for tick in 0..ticks {
                self.expire_slot(slot_of(Tick(first.0.saturating_add(tick))), now, expired);
            }
            self.next = self.first_occupied_after(now);
        }
        self.swept = now;
    }

    /// When to look again: a tick before which nothing expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Tick> {
        (self.len > 0).then(|| self.next.max(Tick(self.swept.0.saturating_add(1))))
    }

    fn first_occupied_after(&self, now: Tick) -> Tick {
        (1..=SLOTS as u32)
            .map(|tick| Tick(now.0.saturating_add(tick)))
            .find(|tick| self.heads[slot_of(*tick)] != NIL)
            .unwrap_or(Tick(u32::MAX))
    }

    fn expire_slot(&mut self, slot: usize, now: Tick, expired: &mut Vec<usize>) {
        let first = self.heads[slot];
        if first == NIL {
            return;
        }
        let last = self.links[first as usize].previous;
        let mut index = first;
        loop {
            let link = self.links[index as usize];
            if link.deadline <= now {
                self.cancel(index as usize);
                expired.push(index as usize);
            }
            if index == last {
                break;
            }
            index = link.next;
        }
    }
}

impl Link {
    const UNARMED: Self = Self { next: NIL, previous: NIL, deadline: Tick(0), armed: false };
}

fn slot_of(deadline: Tick) -> usize {
    deadline.0 as usize % SLOTS
}

const SLOTS: usize = 1024; // 32 seconds a round
const NIL: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, time::Duration};

    #[test]
    fn a_deadline_expires_at_its_tick_and_once() {
        let mut wheel = TimerWheel::new(Tick(10));
        let mut expired = Vec::new();
        wheel.set(3, Tick(12));
        wheel.expire(Tick(11), &mut expired);
        assert_eq!(expired, []);
        wheel.expire(Tick(12), &mut expired);
        wheel.expire(Tick(5000), &mut expired);
        assert_eq!(expired, [3]);
        assert_eq!(wheel.next_expiry(), None);
    }

    #[test]
    fn a_duration_is_never_cut_short() {
        for ms in [0, 1, 31, 32, 33, 1000] {
            let begun_late_in_tick = Tick::at(Duration::from_millis(32 * 100 + 31));
            let deadline = begun_late_in_tick.after(Duration::from_millis(ms));
            assert!(u64::from(deadline.0) * 32 >= 32 * 100 + 31 + ms);
        }
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
        let mut wheel = TimerWheel::new(Tick(0));
        let mut model: BTreeMap<usize, u32> = BTreeMap::new();
        let mut now = 0;
        for _ in 0..if cfg!(miri) { 200 } else { 200_000 } {
            let index = draw(50) as usize;
            match draw(4) {
                0 | 1 => {
                    let deadline = now + 1 + draw(3000) as u32;
                    wheel.set(index, Tick(deadline));
                    model.insert(index, deadline);
                }
                2 => {
                    wheel.cancel(index);
                    model.remove(&index);
                }
                _ => {
                    now += draw(40) as u32 * draw(40) as u32;
                    let mut expired = Vec::new();
                    wheel.expire(Tick(now), &mut expired);
                    expired.sort_unstable();
                    let due: Vec<usize> =
                        model.iter().filter(|(_, at)| **at <= now).map(|(i, _)| *i).collect();
                    assert_eq!(expired, due);
                    model.retain(|_, at| *at > now);
                }
            }
            assert_eq!(wheel.deadline(index).map(|tick| tick.0), model.get(&index).copied());
            let next = wheel.next_expiry().map(|tick| tick.0);
            assert_eq!(next.is_none(), model.is_empty());
            assert!(model.values().min().is_none_or(|first| next <= Some(*first)));
        }
    }
}
