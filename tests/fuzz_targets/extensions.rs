//! Negotiation of permessage-deflate (RFC 7692 §5, §7.1), compared with a plain reading of the
//! grammar: whatever is offered, the handshake fails only if the field is malformed, and what is
//! answered answers an offer.

use sockeye::{
    base::Outbox,
    http::{self, Date, HeaderSlots, ResponseHeadDecoder},
    ws::{
        ClientHandshake, ClientHandshakeError, HandshakeError, Opening, append_accept,
        deflate::{Agreement, Context, Preferences},
    },
};

use super::Choices;

/// A member of the list: its name, and its parameters.
type Member = (String, Vec<(String, Option<String>)>);

/// The parameters of a permessage-deflate that has nothing wrong.
#[derive(Debug, Clone, Copy, Default)]
struct Sound {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Option<u8>>,
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(u8),
}

/// Values of Sec-WebSocket-Extensions, as offers and as an answer.
pub fn extensions(data: &[u8]) {
    let mut choices = Choices(data);
    let flags = choices.byte();
    let server = preferences(&mut choices);
    let client = preferences(&mut choices);
    let text = match flags & 1 {
        0 => choices.rest().to_vec(),
        _ => choices.rest().iter().flat_map(|byte| words(*byte).bytes()).collect(),
    };
    // What no field can have is for the reader of requests.
    if text.iter().any(|byte| matches!(byte, 0..=8 | 11..=31 | 127)) {
        return;
    }
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    server_answers(&lines, &server);
    let own = client.offer();
    let with_own: Vec<&[u8]> = [own.as_bytes()].into_iter().chain(lines.iter().copied()).collect();
    if let Some((_, value)) = server_answers(&with_own, &server) {
        let agreed = client_reads(&[value.as_bytes()], &client);
        assert!(matches!(agreed, Ok(Some(_))), "{agreed:?} of {value} to {own}");
    }
    let expected = model_of_client(&lines, &client);
    let agreed = client_reads(&lines, &client);
    match agreed {
        Err(error) => {
            assert_eq!(error, ClientHandshakeError::Extension);
            assert_eq!(expected, None, "a good answer is refused");
        }
        Ok(agreed) => assert_eq!(Some(agreed.is_some()), expected, "{agreed:?}"),
    }
}

/// What a server answers, checked against the offers.
fn server_answers(lines: &[&[u8]], server: &Preferences) -> Option<(Agreement, String)> {
    let mut request = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        .to_vec();
    append_lines(&mut request, lines);
    let (mut decoder, mut slots) = (http::Decoder::default(), HeaderSlots::new());
    let limits = http::Limits { max_field_count: 100, ..http::Limits::default() };
    // Too many fields, for example.
    let Ok(step) = decoder.next(&mut request, &mut slots, &limits) else { return None };
    let Some(http::Event::Request(head)) = step.event else { panic!("a whole request") };
    let Some(members) = members(lines) else {
        assert_eq!(Opening::read(&head).err(), Some(HandshakeError::Extensions));
        return None;
    };
    let opening = Opening::read(&head).expect("nothing else is wrong");
    let agreement = opening.deflate(server);
    let acceptable = members.iter().filter_map(sound).find(|offer| {
        // zlib has no raw deflate for windows of 8 bits.
        offer.server_max_window_bits != Some(8)
    });
    let (Some(agreement), Some(offer)) = (agreement, acceptable) else {
        assert!(agreement.is_none() && acceptable.is_none(), "{agreement:?} to {acceptable:?}");
        return None;
    };
    let value = agreement.to_field_value();
    let answer = self::members(&[value.as_bytes()]).expect("a list");
    let [answer] = &answer[..] else { panic!("one answer: {value}") };
    let answer = sound(answer).unwrap_or_else(|| panic!("nothing is wrong in {value}"));
    assert!(answers(&answer, &offer), "{answer:?} to {offer:?}");
    let (outgoing, incoming) = (agreement.outgoing(), agreement.incoming());
    assert!(outgoing.bits <= offer.server_max_window_bits.unwrap_or(15));
    assert!(outgoing.bits <= answer.server_max_window_bits.unwrap_or(15));
    assert!(incoming.bits >= answer.client_max_window_bits.flatten().unwrap_or(incoming.bits));
    assert_ne!(outgoing.is_taken_over, answer.server_no_context_takeover);
    assert_ne!(incoming.is_taken_over, answer.client_no_context_takeover);
    assert!(is_wanted(outgoing.is_taken_over, outgoing.bits, server.outgoing));
    assert!(is_wanted(incoming.is_taken_over, incoming.bits, server.incoming));
    let (mut outbox, date) = (Outbox::default(), Date::from_unix(0));
    append_accept(&mut outbox, opening.accept(), None, Some(&agreement), [], &date)
        .expect("it can be sent");
    Some((agreement, value))
}

/// Whether nothing is answered that was not offered, and nothing ignored that was asked for.
fn answers(answer: &Sound, offer: &Sound) -> bool {
    // RFC 7692 §7.1.1: both may be answered without having been offered; the server's must be.
    let takeover = answer.server_no_context_takeover || !offer.server_no_context_takeover;
    // The client's is a hint, and yet believed: else its window would be kept for nothing.
    let hint = answer.client_no_context_takeover || !offer.client_no_context_takeover;
    let server_window = match (answer.server_max_window_bits, offer.server_max_window_bits) {
        (Some(bits), Some(most)) => bits <= most,
        (answered, offered) => answered == offered,
    };
    let client_window = match (answer.client_max_window_bits, offer.client_max_window_bits) {
        (None, _) => true,
        (Some(Some(bits)), Some(most)) => bits <= most.unwrap_or(15),
        _ => false,
    };
    takeover && hint && server_window && client_window
}

/// What a client makes of an answer.
fn client_reads(
    lines: &[&[u8]],
    client: &Preferences,
) -> Result<Option<Agreement>, ClientHandshakeError> {
    let mut response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        .to_vec();
    append_lines(&mut response, lines);
    let (mut decoder, mut slots) = (ResponseHeadDecoder::default(), HeaderSlots::new());
    let Ok(step) = decoder.next(&mut response, &mut slots, &http::Limits::default()) else {
        return Err(ClientHandshakeError::Extension);
    };
    let head = step.head.expect("a whole response");
    let handshake = ClientHandshake::new(*b"the sample nonce");
    let (_, agreed) = handshake.verify_deflate(&head, &[], Some(client))?;
    if let Some(agreed) = &agreed {
        let outgoing = agreed.outgoing();
        assert!(is_wanted(outgoing.is_taken_over, outgoing.bits, client.outgoing));
    }
    Ok(agreed)
}

/// Whether a client must accept this answer, and has compression then; `None` if it must not.
fn model_of_client(lines: &[&[u8]], client: &Preferences) -> Option<bool> {
    // As many fields as a head has room for, with those that it has besides.
    if lines.len() + 3 > http::Limits::default().max_field_count {
        return None;
    }
    let members = members(lines)?;
    let [member] = &members[..] else { return members.is_empty().then_some(false) };
    let answer = sound(member)?;
    let bits = answer.server_max_window_bits.unwrap_or(15);
    let is_kept = match client.incoming {
        Context::Fresh => answer.server_no_context_takeover,
        Context::TakenOver { window_bits } => bits <= window_bits,
    };
    (is_kept && answer.client_max_window_bits != Some(None)).then_some(true)
}

/// Whether no more is kept than this side wanted.
fn is_wanted(is_taken_over: bool, bits: u8, context: Context) -> bool {
    match context {
        Context::Fresh => !is_taken_over,
        Context::TakenOver { window_bits } => !is_taken_over || bits <= window_bits,
    }
}

fn append_lines(head: &mut Vec<u8>, lines: &[&[u8]]) {
    for line in lines {
        head.extend_from_slice(b"Sec-WebSocket-Extensions: ");
        head.extend_from_slice(line);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
}

/// The members of all lines; `None` if one is malformed.
fn members(lines: &[&[u8]]) -> Option<Vec<Member>> {
    let mut members = Vec::new();
    for line in lines {
        // A member ends with its line.
        for tokens in tokens(line)?.split(|token| *token == Token::Sign(b',')) {
            if !tokens.is_empty() {
                members.push(member(tokens)?);
            }
        }
    }
    Some(members)
}

fn member(tokens: &[Token]) -> Option<Member> {
    let mut parts = tokens.split(|token| *token == Token::Sign(b';'));
    let [Token::Word(name)] = parts.next()? else { return None };
    let parameter = |part: &[Token]| match part {
        [Token::Word(name)] => Some((name.clone(), None)),
        [Token::Word(name), Token::Sign(b'='), Token::Word(value) | Token::Quoted(value)] => {
            Some((name.clone(), Some(value.clone())))
        }
        _ => None,
    };
    Some((name.clone(), parts.map(parameter).collect::<Option<_>>()?))
}

/// RFC 9110 §5.6: words, quoted words, and signs, without the space between them.
fn tokens(line: &[u8]) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = line;
    while let Some((first, after)) = rest.split_first() {
        match *first {
            b' ' | b'\t' => rest = after,
            b'"' => {
                let mut text = String::new();
                rest = after;
                loop {
                    match rest {
                        [b'"', after @ ..] => {
                            rest = after;
                            break;
                        }
                        [b'\\', byte, after @ ..] | [byte, after @ ..] if is_word(*byte) => {
                            text.push(char::from(*byte));
                            rest = after;
                        }
                        _ => return None,
                    }
                }
                // RFC 6455 §9.1: it is a word after all.
                if text.is_empty() {
                    return None;
                }
                tokens.push(Token::Quoted(text));
            }
            byte if is_word(byte) => {
                let end = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
                let word = rest[..end].iter().map(|byte| char::from(*byte)).collect();
                tokens.push(Token::Word(word));
                rest = &rest[end..];
            }
            byte => {
                tokens.push(Token::Sign(byte));
                rest = after;
            }
        }
    }
    Some(tokens)
}

/// RFC 9110 §5.6.2.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 7692 §7: the parameters of permessage-deflate, unless they are a reason to decline.
fn sound((name, parameters): &Member) -> Option<Sound> {
    if name != "permessage-deflate" {
        return None;
    }
    let mut names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < parameters.len() {
        return None;
    }
    let bits = |value: &str| match value.parse() {
        Ok(bits @ 8..=15) if value == bits.to_string() => Some(bits),
        _ => None,
    };
    let mut sound = Sound::default();
    for (name, value) in parameters {
        match (name.as_str(), value) {
            ("server_no_context_takeover", None) => sound.server_no_context_takeover = true,
            ("client_no_context_takeover", None) => sound.client_no_context_takeover = true,
            ("server_max_window_bits", Some(value)) => {
                sound.server_max_window_bits = Some(bits(value)?);
            }
            ("client_max_window_bits", None) => sound.client_max_window_bits = Some(None),
            ("client_max_window_bits", Some(value)) => {
                sound.client_max_window_bits = Some(Some(bits(value)?));
            }
            _ => return None,
        }
    }
    Some(sound)
}

fn preferences(choices: &mut Choices<'_>) -> Preferences {
    let mut context = || match choices.below(8) {
        0 => Context::Fresh,
        number => Context::TakenOver { window_bits: 8 + number as u8 },
    };
    Preferences { outgoing: context(), incoming: context() }
}

/// What offers are made of.
fn words(byte: u8) -> &'static str {
    const WORDS: [&str; 32] = [
        "permessage-deflate",
        "permessage-deflate; ",
        ", permessage-deflate; ",
        ";",
        "; ",
        ",",
        "=",
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
        "; server_no_context_takeover",
        "; client_no_context_takeover",
        "; server_max_window_bits=",
        "; client_max_window_bits=",
        "; client_max_window_bits",
        "8",
        "9",
        "10",
        "12",
        "15",
        "16",
        "0",
        "1",
        "\"",
        "\\",
        " ",
        "\t",
        "\n",
        "x",
        "\u{e4}",
        "permessage-bzip2",
    ];
    WORDS[usize::from(byte) % WORDS.len()]
}
