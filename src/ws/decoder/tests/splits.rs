//! Properties: any split of any stream means the same, and what was sent is what arrives.

use proptest::prelude::*;

use super::*;
use crate::{
    base::Outbox,
    ws::{Opcode, append_close, append_frame},
};

/// What one side sends.
#[derive(Debug, Clone)]
enum Act {
    /// A message in fragments, with pings between them.
    Message {
        is_text: bool,
        fragments: Vec<Vec<u8>>,
        pings: Vec<Vec<u8>>,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        "[a-zß水🦊]{0,12}".prop_map(String::into_bytes),
        // Around the borders of the length's forms.
        (120_usize..135).prop_map(|length| vec![b'x'; length]),
    ]
}

/// Text cut anywhere, also inside of characters, and sometimes none at all.
fn text() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    ("[a-zß水🦊]{0,40}", cuts, prop::option::weighted(0.1, any::<(prop::sample::Index, u8)>()))
        .prop_map(|(text, cuts, noise)| {
            let mut bytes = text.into_bytes();
            if let Some((at, byte)) = noise.filter(|_| !bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            split(&bytes, &cuts).into_iter().map(<[u8]>::to_vec).collect()
        })
}

fn act() -> impl Strategy<Value = Act> {
    let pings = || prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..3);
    let binary = prop::collection::vec(payload(), 1..4);
    let reason = prop::option::of((prop_oneof![Just(1000), Just(3000), Just(4999)], "[a-zß]{0,9}"));
    prop_oneof![
        4 => (text(), pings())
            .prop_map(|(fragments, pings)| Act::Message { is_text: true, fragments, pings }),
        4 => (binary, pings())
            .prop_map(|(fragments, pings)| Act::Message { is_text: false, fragments, pings }),
        1 => prop::collection::vec(any::<u8>(), 0..125).prop_map(Act::Ping),
        1 => prop::collection::vec(any::<u8>(), 0..9).prop_map(Act::Pong),
        1 => reason.prop_map(Act::Close),
    ]
}

/// The bytes of these acts, and what they mean if every limit is wide.
fn stream(role: Role, acts: &[Act]) -> (Vec<u8>, String) {
    let mut outbox = Outbox::default();
    let mut words = Words::default();
    let mut key = 0x9e37_79b9_u32;
    for act in acts {
        let mut frame = |fin, opcode, payload: &[u8]| {
            key = key.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
            let mask = (role == Role::Server).then(|| key.to_be_bytes());
            append_frame(&mut outbox, fin, opcode, payload, mask);
        };
        match act {
            Act::Ping(payload) => {
                frame(true, Opcode::Ping, payload);
                words.add(Event::Ping(payload));
            }
            Act::Pong(payload) => {
                frame(true, Opcode::Pong, payload);
                words.add(Event::Pong(payload));
            }
            Act::Close(status) => {
                let status = status.as_ref().map(|(code, reason)| {
                    (CloseCode::new(*code).expect("a good code"), reason.as_str())
                });
                let mask = (role == Role::Server).then_some([1, 2, 3, 4]);
                append_close(&mut outbox, status, mask);
                words.add(Event::Close(status));
                break;
            }
            Act::Message { is_text, fragments, pings } => {
                let bytes = fragments.concat();
                let message = match std::str::from_utf8(&bytes) {
                    _ if !is_text => Some(Message::Binary(&bytes)),
                    Ok(text) => Some(Message::Text(text)),
                    Err(_) => None,
                };
                let mut opcode = if *is_text { Opcode::Text } else { Opcode::Binary };
                for (index, fragment) in fragments.iter().enumerate() {
                    let is_last = index + 1 == fragments.len();
                    frame(is_last, opcode, fragment);
                    opcode = Opcode::Continuation;
                    // Where a fault is, is the decoder's to know: no pings between it and the end.
                    let ping = pings.get(index).filter(|_| !is_last && message.is_some());
                    if let Some(ping) = ping {
                        frame(true, Opcode::Ping, ping);
                        words.add(Event::Ping(ping));
                    }
                }
                match message {
                    Some(message) => words.add(Event::Message(message)),
                    None => return (bytes_of(&outbox), words.fail(Error::InvalidUtf8)),
                }
            }
        }
    }
    (bytes_of(&outbox), words.end())
}

fn bytes_of(outbox: &Outbox) -> Vec<u8> {
    let mut slices = [std::io::IoSlice::new(&[]); 64];
    let count = outbox.slices(&mut slices);
    assert_eq!(count, outbox.piece_count());
    slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect()
}

fn split<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.push(bytes.len());
    places.sort_unstable();
    let mut start = 0;
    let mut pieces = Vec::new();
    for place in places {
        pieces.push(&bytes[start..place]);
        start = place;
    }
    pieces
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn limits() -> impl Strategy<Value = Limits> {
    let length = prop_oneof![3 => Just(4096_usize), 1 => 0_usize..200];
    let overhead = prop_oneof![3 => Just(4096_usize), 1 => 0_usize..64];
    (length, overhead, any::<bool>()).prop_map(
        |(max_payload_length, max_fragment_overhead_bytes, piecewise)| Limits {
            max_payload_length,
            max_fragment_overhead_bytes,
            piecewise,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 1000 }))]

    #[test]
    fn what_was_sent_is_what_arrives(
        role in role(),
        acts in prop::collection::vec(act(), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let (bytes, meaning) = stream(role, &acts);
        let limits = Limits::default();
        prop_assert_eq!(&transcript(role, &limits, [&bytes[..]]), &meaning);
        prop_assert_eq!(&transcript(role, &limits, split(&bytes, &cuts)), &meaning);
    }

    #[test]
    fn any_split_means_the_same(
        role in role(),
        limits in limits(),
        acts in prop::collection::vec(act(), 0..8),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        length in prop::option::of(any::<prop::sample::Index>()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (mut bytes, _) = stream(role, &acts);
        if let Some(length) = length {
            bytes.truncate(length.index(bytes.len() + 1));
        }
        for (at, byte) in noise {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let whole = transcript(role, &limits, [&bytes[..]]);
        prop_assert_eq!(&transcript(role, &limits, split(&bytes, &cuts)), &whole);
        prop_assert_eq!(&transcript(role, &limits, bytes.chunks(1)), &whole);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        role in role(),
        limits in limits(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let whole = transcript(role, &limits, [&bytes[..]]);
        prop_assert_eq!(&transcript(role, &limits, split(&bytes, &cuts)), &whole);
        prop_assert_eq!(&transcript(role, &limits, bytes.chunks(1)), &whole);
    }

    #[test]
    fn bytes_that_look_like_frames_do_no_harm(
        role in role(),
        limits in limits(),
        heads in prop::collection::vec(
            (
                prop::sample::select(&[0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a][..]),
                0_u8..6,
                prop::collection::vec(any::<u8>(), 0..10),
            ),
            0..20,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut bytes = Vec::new();
        for (first, length, rest) in heads {
            bytes.push(first);
            bytes.push(length | if role == Role::Server { 0x80 } else { 0 });
            bytes.extend(rest);
        }
        let whole = transcript(role, &limits, [&bytes[..]]);
        prop_assert_eq!(&transcript(role, &limits, split(&bytes, &cuts)), &whole);
        prop_assert_eq!(&transcript(role, &limits, bytes.chunks(1)), &whole);
    }
}

#[test]
fn lengths_around_every_border_arrive() {
    let limits = Limits { max_payload_length: 1 << 20, ..Limits::default() };
    let lengths = [0, 1, 2, 31, 32, 33, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536];
    let longest = if cfg!(miri) { 256 } else { 1 << 20 };
    let lengths = lengths.into_iter().chain([65_537, 131_072, 1 << 20]);
    for length in lengths.filter(|length| *length <= longest) {
        let text: String = ('a'..='z').cycle().take(length).collect();
        for (opcode, message) in [
            (Opcode::Text, Message::from(&text)),
            (Opcode::Binary, Message::Binary(text.as_bytes())),
        ] {
            for role in [Role::Server, Role::Client] {
                let mut outbox = Outbox::default();
                let mask = (role == Role::Server).then_some([0x37, 0xfa, 0x21, 0x3d]);
                append_frame(&mut outbox, true, opcode, message.as_bytes(), mask);
                let bytes = outbox.contiguous().expect("one piece");
                for piece in [bytes.len(), 4096, bytes.len() - 1, length.max(1)] {
                    arrives(role, &limits, bytes, piece, message);
                }
            }
        }
    }
}

fn arrives(role: Role, limits: &Limits, bytes: &[u8], piece: usize, message: Message<'_>) {
    let mut decoder = Decoder::new(role);
    let mut bytes = bytes.to_vec();
    let mut count = 0;
    for piece in bytes.chunks_mut(piece) {
        let step = decoder.next(piece, limits).expect("a good frame");
        if let Some(event) = step.event {
            assert_eq!(event, Event::Message(message));
            count += 1;
        }
    }
    assert_eq!(count, 1);
}

/// What a long message means when so many bytes of each round go through the input, and then so
/// many as fit are put where they belong.
fn put_past_the_input(
    limits: &Limits,
    bytes: &[u8],
    through: usize,
    past: usize,
) -> (String, usize) {
    let mut decoder = Decoder::new(Role::Server);
    let mut words = Words::default();
    let (mut rest, mut put) = (bytes, 0);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(through.min(rest.len()));
        rest = later;
        let mut input = now.to_vec();
        let mut done = 0;
        loop {
            let step = decoder.next(&mut input[done..], limits).expect("a good stream");
            done += step.consumed;
            if let Some(event) = step.event {
                assert!(step.gathered.is_none_or(|shared| match event {
                    Event::Message(Message::Binary(bytes)) => shared.range_of(bytes).is_some(),
                    _ => false,
                }));
                words.add(event);
                continue;
            }
            assert_eq!(done, input.len());
            let Some((place, max)) = decoder.room() else { break };
            let capacity = place.capacity();
            let count = past.min(max).min(rest.len()).min(capacity - place.len());
            if count == 0 {
                break;
            }
            place.extend_from_slice(&rest[..count]);
            assert_eq!(place.capacity(), capacity);
            (rest, put) = (&rest[count..], put + count);
        }
    }
    (words.end(), put)
}

#[test]
fn bytes_put_where_they_belong_mean_the_same() {
    let (length, cuts) =
        if cfg!(miri) { (70_000, [30_001, 20_003]) } else { (150_000, [70_001, 50_003]) };
    let long: Vec<u8> = (0..length).map(|i: u32| (i * 31 % 251) as u8).collect();
    let texts = "ä".repeat(length as usize / 5);
    let acts = [
        Act::Message { is_text: false, fragments: vec![long.clone()], pings: vec![] },
        Act::Ping(b"between".to_vec()),
        Act::Message { is_text: true, fragments: vec![texts.into_bytes()], pings: vec![] },
        Act::Message {
            is_text: false,
            fragments: vec![long[..cuts[0]].to_vec(), vec![], long[..cuts[1]].to_vec(), vec![7]],
            pings: vec![b"amid".to_vec(), vec![], b"again".to_vec()],
        },
        Act::Message { is_text: false, fragments: vec![vec![1, 2, 3]], pings: vec![] },
    ];
    let (bytes, _) = stream(Role::Server, &acts);
    for piecewise in [false, true] {
        let limits = Limits { piecewise, max_payload_length: 1 << 20, ..Limits::default() };
        let meaning = transcript(Role::Server, &limits, [&bytes[..]]);
        let portions = [(20_001, 40_003), (65_536, 1 << 20), (1000, 3001), (15, 1)];
        for (through, past) in portions.into_iter().take(if cfg!(miri) { 1 } else { 4 }) {
            let (got, put) = put_past_the_input(&limits, &bytes, through, past);
            assert!(got == meaning, "{through} through the input, {past} past it");
            // Pieces that are given away have no place.
            assert_eq!(put > 0, !piecewise, "{put} bytes");
        }
    }
}
