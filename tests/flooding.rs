//! Names that collide wherever a hash has no secret cost no more than any others.
//!
//! Who may choose names of topics, or ask for paths, can compute ahead which of them collide under
//! a hash that is known, and make every access to a table a search through all of it. The names
//! here do so; that they do is shown on tables with such hashes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test measures how long something takes")]

use std::{
    collections::{HashMap, HashSet, hash_map::DefaultHasher},
    fs,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
    iter,
    time::{Duration, Instant},
};

use sockeye::{
    base::{Key, Shared},
    http::Router,
    pubsub::{Batch, Framed, Limits, PubSub, Sink, Variant},
};

/// So many names are meant to collide.
const COUNT: usize = 2048;

/// How much more the names that collide may cost than random ones.
const MOST: f64 = 3.0;

/// How much more they cost at least where the hash is known.
const LEAST: f64 = 4.0;

/// FNV-1a of 64 bits.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What many programs hash with because it is short: eight bytes at a time, and no secret.
#[derive(Default)]
struct Fx(u64);

impl Fx {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;

    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(Self::FACTOR);
    }
}

impl Hasher for Fx {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut whole = [0; 8];
            whole[..word.len()].copy_from_slice(word);
            self.add(u64::from_le_bytes(whole));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The polynomial of 31, which is that of strings in Java.
#[derive(Default)]
struct Polynomial(u64);

impl Hasher for Polynomial {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(31).wrapping_add((*byte).into());
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Names = Vec<Vec<u8>>;

/// All names that have one of two blocks at each place.
fn choices(blocks: &[[Vec<u8>; 2]]) -> Names {
    let name = |number: usize| {
        let chosen = blocks.iter().enumerate().map(|(place, pair)| &pair[number >> place & 1]);
        chosen.flatten().copied().collect()
    };
    (0..1 << blocks.len()).map(name).collect()
}

/// The lower bits of FNV's state depend on no others, and choose the place in a table: at each
/// place of the name two blocks are searched for that lead from the one state to the same next.
fn colliding_under_fnv() -> Names {
    const BLOCK: usize = 8;
    let places = COUNT.ilog2() as usize;
    let after = |state: u64, bytes: &[u8]| {
        let mut fnv = Fnv(state);
        fnv.write(bytes);
        fnv.finish() & 0xff_ffff
    };
    // What a slice is hashed with before its bytes.
    let mut state = after(Fnv::default().0, &(places * BLOCK).to_ne_bytes());
    let mut blocks = Vec::new();
    for _ in 0..places {
        let mut seen = HashMap::new();
        let found = letters(BLOCK).find_map(|block| {
            let next = after(state, &block);
            let other = seen.insert(next, block.clone()).filter(|other| *other != block)?;
            Some((next, [other, block]))
        });
        let pair;
        (state, pair) = found.unwrap();
        blocks.push(pair);
    }
    choices(&blocks)
}

/// The second word takes back what the first one did.
fn colliding_under_fx() -> Names {
    let name = |number: usize| {
        let mut fx = Fx::default();
        16_usize.hash(&mut fx);
        fx.add(number as u64);
        [number as u64, fx.0.rotate_left(5) ^ 0x5eed].map(u64::to_le_bytes).concat()
    };
    (0..COUNT).map(name).collect()
}

fn colliding_under_polynomials() -> Names {
    let pair = [b"Aa".to_vec(), b"BB".to_vec()];
    choices(&vec![pair; COUNT.ilog2() as usize])
}

/// With the key zero, as it is where nobody has drawn one; found by trying.
fn colliding_under_siphash() -> Names {
    let names = (0..).map(|number: u32| format!("{number:08}").into_bytes());
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    names.filter(|name| hasher.hash_one(&name[..]) & 0x3ff == 0).take(COUNT).collect()
}

/// Texts of that length.
fn letters(length: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut letter = move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        b'a' + u8::try_from((state >> 40) % 26).unwrap()
    };
    iter::repeat_with(move || (0..length).map(|_| letter()).collect())
}

/// Different names of that length, which nobody has chosen.
fn random(count: usize, length: usize) -> Names {
    let mut seen = HashSet::new();
    letters(length).filter(|name| seen.insert(name.clone())).take(count).collect()
}

/// Processor time of this thread, so that other work does not count.
fn clock(start: Instant) -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    nanoseconds.filter(|n| *n > 0).map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// How much more the one takes than the other: each is repeated until it has taken long enough,
/// and the best of several rounds counts.
fn ratio(mut one: impl FnMut(), mut other: impl FnMut()) -> f64 {
    let start = Instant::now();
    let cost = |work: &mut dyn FnMut()| {
        let (begun, mut times) = (clock(start), 0);
        loop {
            work();
            times += 1;
            let taken = clock(start) - begun;
            if taken > Duration::from_millis(20) {
                return taken / times;
            }
        }
    };
    let rounds: Vec<_> = (0..3).map(|_| (cost(&mut one), cost(&mut other))).collect();
    let best = |of: fn(&(Duration, Duration)) -> Duration| rounds.iter().map(of).min().unwrap();
    best(|round| round.0).as_secs_f64() / best(|round| round.1).as_secs_f64()
}

fn fill_table<S: BuildHasher + Default>(names: &Names) {
    let mut table: HashMap<&[u8], usize, S> = HashMap::default();
    for (number, name) in names.iter().enumerate() {
        table.insert(name, number);
    }
    assert_eq!(table.len(), names.len());
    assert!(names.iter().all(|name| table.contains_key(&name[..])));
}

/// That the names do what they are for: so much slower is a table whose hash they were made for.
#[track_caller]
fn assert_colliding<H: Hasher + Default>(names: &Names) {
    let others = random(names.len(), names[0].len());
    let slower = ratio(
        || fill_table::<BuildHasherDefault<H>>(names),
        || fill_table::<BuildHasherDefault<H>>(&others),
    );
    println!("{slower:.1} times as long where the hash is known");
    assert!(slower > LEAST, "the names do not collide: {slower:.1} times as long");
}

struct Count(usize);

impl Sink for Count {
    fn deliver(&mut self, _: Key, batch: &Batch<'_>) {
        self.0 += batch.message_count();
    }
}

/// Subscribes to all of them, publishes to each, and leaves them again.
fn use_topics(names: &Names) {
    let mut topics = PubSub::new(Limits::default());
    let mut sink = Count(0);
    let ids = [1, 2].map(|index| topics.add(Key::new(index, 0), Variant::PLAIN).unwrap());
    let message = Framed::plain(Shared::from(&b"x"[..]));
    for name in names {
        for id in ids {
            assert_eq!(topics.subscribe(id, name, &mut sink), Ok(true));
        }
    }
    for name in names {
        assert_eq!(topics.subscriber_count(name), 2);
        let _ = topics.publish(name, None, message.clone()).unwrap();
        let _ = topics.drain(&mut sink);
    }
    assert_eq!(sink.0, 2 * names.len());
    for name in names {
        assert!(topics.unsubscribe(ids[0], name, &mut sink));
    }
    topics.remove(ids[1]);
    while topics.next_interest_change().is_some() {}
    assert_eq!(topics.topic_count(), 0);
}

/// Asks for all of them, of which half are routes.
fn use_routes(names: &Names) {
    let mut router = Router::default();
    let paths: Vec<String> =
        names.iter().map(|name| format!("/{}", std::str::from_utf8(name).unwrap())).collect();
    let (known, unknown) = paths.split_at(paths.len() / 2);
    for (number, path) in known.iter().enumerate() {
        router.add("GET", path, number).unwrap();
    }
    for (number, path) in known.iter().enumerate() {
        assert_eq!(router.find("GET", path).ok().map(|found| *found.value), Some(number));
    }
    assert!(unknown.iter().all(|path| router.find("GET", path).is_err()));
}

#[test]
fn colliding_topics_cost_what_others_do() {
    let families = [
        ("FNV", colliding_under_fnv()),
        ("Fx", colliding_under_fx()),
        ("a polynomial", colliding_under_polynomials()),
        ("SipHash without a key", colliding_under_siphash()),
    ];
    assert_colliding::<Fnv>(&families[0].1);
    assert_colliding::<Fx>(&families[1].1);
    assert_colliding::<Polynomial>(&families[2].1);
    assert_colliding::<DefaultHasher>(&families[3].1);
    for (hash, names) in &families {
        assert_eq!(names.len(), COUNT);
        let others = random(COUNT, names[0].len());
        let slower = ratio(|| use_topics(names), || use_topics(&others));
        println!("{slower:.2} times as long here, with names that collide under {hash}");
        assert!(slower < MOST, "names that collide under {hash}: {slower:.1} times as long");
    }
}

#[test]
fn colliding_paths_cost_what_others_do() {
    for names in [colliding_under_fnv(), colliding_under_polynomials()] {
        let others = random(COUNT, names[0].len());
        let slower = ratio(|| use_routes(&names), || use_routes(&others));
        println!("{slower:.2} times as long for paths");
        assert!(slower < MOST, "paths that collide: {slower:.1} times as long");
    }
}

/// Two tables of one process hash alike names differently, and so do two processes.
#[test]
fn the_secret_is_another_one_in_each_table() {
    let hash = || HashMap::<u8, u8>::new().hasher().hash_one("a name");
    let all: HashSet<u64> = (0..100).map(|_| hash()).collect();
    assert_eq!(all.len(), 100);
}
