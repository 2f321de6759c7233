//! What a decoder keeps, and when it lets go of it.

use super::*;
use crate::ws::Opcode;

const LIMITS: Limits =
    Limits { max_payload_length: 1 << 62, max_fragment_overhead_bytes: 0, piecewise: false };

/// The memory of a frame in progress without any content.
const EMPTY: usize = 512;

/// The length of a long message.
const WHOLE: usize = if cfg!(miri) { 1 << 19 } else { 16 << 20 };

/// What may be held of a message in one frame.
fn bound(received: usize) -> usize {
    EMPTY + 4 * (received + (16 << 10))
}

fn feed(decoder: &mut Decoder, bytes: &mut [u8]) -> usize {
    let length = bytes.len();
    let step = decoder.next(bytes, &LIMITS).expect("no fault");
    assert_eq!((step.consumed, step.event), (length, None));
    decoder.held_bytes()
}

#[test]
fn a_declared_length_allocates_nothing() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        let mut decoder = Decoder::new(Role::Client);
        let mut header = [0; 10];
        header[..3].copy_from_slice(&[0x80 | opcode.bits(), 127, 0x3f]);
        assert!(feed(&mut decoder, &mut header) < EMPTY);
        assert!(feed(&mut decoder, &mut [b'a']) <= bound(1));
    }
}

#[test]
fn memory_follows_what_has_arrived() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        let mut decoder = Decoder::new(Role::Client);
        let mut header = [&[0x80 | opcode.bits(), 127][..], &WHOLE.to_be_bytes()].concat();
        feed(&mut decoder, &mut header);
        let (mut received, mut growths, mut before) = (0, 0, 0);
        for _ in 1..WHOLE >> 16 {
            received += 64 << 10;
            let held = feed(&mut decoder, &mut vec![b'a'; 64 << 10]);
            assert!(held >= received && held <= bound(received), "{held} of {received}");
            growths += usize::from(held != before);
            before = held;
        }
        assert!(growths <= 5, "{growths}");
        assert!(before <= EMPTY + WHOLE, "no more than was declared: {before}");
        let mut last = vec![b'a'; 64 << 10];
        let step = decoder.next(&mut last, &LIMITS).expect("no fault");
        assert!(matches!(step.event, Some(Event::Message(m)) if m.len() == WHOLE));
        assert!(decoder.is_idle());
        assert_eq!(feed(&mut decoder, &mut []), 0, "freed at the next call");
    }
}

#[test]
fn room_follows_what_has_arrived() {
    let mut decoder = Decoder::new(Role::Client);
    let mut header = [&[0x82, 127][..], &WHOLE.to_be_bytes()].concat();
    feed(&mut decoder, &mut header);
    assert!(decoder.room().is_none(), "for a declared length alone");
    let mut received = 1;
    feed(&mut decoder, &mut [7]);
    while let Some((place, max)) = decoder.room() {
        assert_eq!(max, WHOLE - received);
        let count = max.min(place.capacity() - place.len()).min(60_000);
        assert!(count > 0);
        place.resize(place.len() + count, 7);
        received += count;
        let held = decoder.held_bytes();
        assert!(held >= received && held <= bound(received), "{held} of {received}");
        if received < WHOLE {
            feed(&mut decoder, &mut []);
        }
        if WHOLE - received < 16 << 10 {
            break;
        }
    }
    let mut rest = vec![7; WHOLE - received];
    let mut step = decoder.next(&mut [], &LIMITS).expect("no fault");
    if step.event.is_none() {
        step = decoder.next(&mut rest, &LIMITS).expect("no fault");
    }
    assert!(matches!(step.event, Some(Event::Message(m)) if m.as_bytes() == vec![7; WHOLE]));
    assert!(decoder.held_bytes() >= WHOLE);
    decoder.let_go();
    assert_eq!(decoder.held_bytes(), 0, "freed without another call");
}

#[test]
fn what_is_shared_outlives_the_decoder() {
    let mut decoder = Decoder::new(Role::Client);
    let mut bytes = [&[0x82, 126, 0x60, 0][..], &[9; 0x6000]].concat();
    let (first, second) = bytes.split_at_mut(100);
    feed(&mut decoder, first);
    let step = decoder.next(second, &LIMITS).expect("no fault");
    let shared = step.gathered.cloned().expect("a large message in pieces");
    let Some(Event::Message(message)) = step.event else { panic!("no message") };
    assert_eq!(shared.range_of(message.as_bytes()), Some(0..0x6000));
    drop(decoder);
    assert_eq!(*shared, [9; 0x6000]);
}

#[test]
fn small_messages_get_what_they_need_at_once() {
    let mut decoder = Decoder::new(Role::Client);
    feed(&mut decoder, &mut b"\x82\x7e\x20\x00".to_vec());
    let first = feed(&mut decoder, &mut [7; 100]);
    assert!((8192..=8192 + EMPTY).contains(&first), "{first}");
    for _ in 0..80 {
        assert_eq!(feed(&mut decoder, &mut [7; 100]), first);
    }
    let mut rest = [7; 93];
    let step = decoder.next(&mut rest, &LIMITS).expect("no fault");
    assert_eq!(step.consumed, 92);
}

#[test]
fn a_cut_control_frame_keeps_its_125_bytes() {
    let mut decoder = Decoder::new(Role::Server);
    let mut bytes = [b"\x89\xfd\0\0\0\0".to_vec(), vec![b'p'; 125]].concat();
    let (first, second) = bytes.split_at_mut(60);
    assert!(feed(&mut decoder, first) <= EMPTY + 125);
    let step = decoder.next(second, &LIMITS).expect("no fault");
    assert_eq!(step.event, Some(Event::Ping(&[b'p'; 125])));
    assert_eq!(feed(&mut decoder, &mut []), 0);
}

#[test]
fn a_message_goes_before_the_next_begins() {
    let mut decoder = Decoder::new(Role::Client);
    feed(&mut decoder, &mut b"\x82\x03ab".to_vec());
    let mut rest = b"c\x82\x01d\x82\x02e".to_vec();
    let step = decoder.next(&mut rest, &LIMITS).expect("no fault");
    assert_eq!((step.consumed, step.event), (1, Some(Event::Message(Message::Binary(b"abc")))));
    let step = decoder.next(&mut rest[1..], &LIMITS).expect("no fault");
    assert_eq!((step.consumed, step.event), (3, Some(Event::Message(Message::Binary(b"d")))));
    assert_eq!(decoder.held_bytes(), 0);
    assert!(feed(&mut decoder, &mut rest[4..]) > 0);
    assert!(!decoder.is_idle());
}

#[test]
fn pieces_are_not_kept() {
    let limits = Limits { piecewise: true, ..LIMITS };
    let mut decoder = Decoder::new(Role::Client);
    let mut header = *b"\x81\x7f\0\0\0\0\x10\0\0\0";
    assert!(decoder.next(&mut header, &limits).is_ok());
    for _ in 0..if cfg!(miri) { 2 } else { 64 } {
        // An odd number of bytes cuts a character each time.
        let mut bytes = "ä".repeat(30_000).into_bytes();
        for piece in bytes.chunks_mut(30_001) {
            let mut done = 0;
            while done < piece.len() {
                done += decoder.next(&mut piece[done..], &limits).expect("no fault").consumed;
            }
            assert!(decoder.held_bytes() < EMPTY);
        }
    }
}

#[test]
fn faults_and_closes_let_go_of_everything() {
    for end in [&b"\x83"[..], b"\x88\x00"] {
        let mut decoder = Decoder::new(Role::Client);
        assert!(feed(&mut decoder, &mut b"\x02\x03abc".to_vec()) > 0);
        let is_fault = decoder.next(&mut end.to_vec(), &LIMITS).is_err();
        assert_eq!((is_fault, decoder.held_bytes()), (end.len() == 1, 0));
    }
}
