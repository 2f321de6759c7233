//! [`Openings`]: the opening handshakes that are under way.

use sockeye::{
    base::Outbox,
    client::Url,
    http::{HeaderSlots, Limits, ResponseHeadDecoder, Status},
    reactor::{Reactor, Socket},
    ws::{ClientHandshake, ClientRequest, deflate::Preferences},
};

use crate::{Error, random::Random, wire::Wire};

/// Opening handshakes by connection.
#[derive(Debug)]
pub(crate) struct Openings {
    url: Url,
    deflate: Option<Preferences>,
    rooms: usize,
    random: Random,
    slots: Vec<Option<Box<Opening>>>,
    under_way: usize,
    outbox: Outbox,
}

#[derive(Debug)]
struct Opening {
    handshake: ClientHandshake,
    decoder: ResponseHeadDecoder,
}

impl Openings {
    pub(crate) fn new(url: Url, random: Random) -> Self {
        let (slots, outbox) = (Vec::new(), Outbox::default());
        Self { url, deflate: None, rooms: 1, random, slots, under_way: 0, outbox }
    }

    /// Which compression is asked for, and must be had.
    pub(crate) fn set_deflate(&mut self, deflate: Option<Preferences>) {
        self.deflate = deflate;
    }

    /// What is asked for from now on.
    pub(crate) fn set_url(&mut self, url: Url) {
        self.url = url;
    }

    /// Divides the connections among rooms, which are paths.
    pub(crate) fn set_rooms(&mut self, rooms: usize) {
        self.rooms = rooms;
    }

    /// Connects, and sends the request.
    pub(crate) fn begin<R: Reactor<Socket = Socket>>(
        &mut self,
        index: usize,
        wire: &mut Wire<R>,
    ) -> Result<(), Error> {
        let room = (self.rooms > 1).then(|| format!("/room/{}", index % self.rooms));
        self.begin_at(index, room.as_deref(), wire)
    }

    /// The same, at another target of the same server.
    pub(crate) fn begin_at<R: Reactor<Socket = Socket>>(
        &mut self,
        index: usize,
        target: Option<&str>,
        wire: &mut Wire<R>,
    ) -> Result<(), Error> {
        wire.connect(index)?;
        let handshake = ClientHandshake::new(self.random.nonce());
        let request = ClientRequest {
            host: self.url.host(),
            target: target.unwrap_or(self.url.target()),
            deflate: self.deflate,
            ..ClientRequest::default()
        };
        handshake.append_request(&mut self.outbox, &request)?;
        wire.send(index, &mut self.outbox);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let decoder = ResponseHeadDecoder::default();
        self.slots[index] = Some(Box::new(Opening { handshake, decoder }));
        self.under_way += 1;
        Ok(())
    }

    /// How many there are.
    #[inline]
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether there is one on this connection.
    #[inline]
    pub(crate) fn is_under_way(&self, index: usize) -> bool {
        self.under_way > 0 && self.slots.get(index).is_some_and(Option::is_some)
    }

    /// Takes received bytes. Once the connection is open, returns how many of them were of the
    /// handshake.
    pub(crate) fn received(
        &mut self,
        index: usize,
        bytes: &mut [u8],
    ) -> Result<Option<usize>, Error> {
        let Some(Some(opening)) = self.slots.get_mut(index) else { return Ok(Some(0)) };
        let mut slots = HeaderSlots::new();
        let step =
            opening.decoder.next(bytes, &mut slots, &Limits::default()).map_err(Error::NotHttp)?;
        let Some(head) = step.head else { return Ok(None) };
        if head.status() != Status::SWITCHING_PROTOCOLS {
            return Err(Error::Refused(head.status()));
        }
        let deflate = self.deflate.as_ref();
        let (_, agreed) = opening.handshake.verify_deflate(&head, &[], deflate)?;
        if deflate.is_some() && agreed.is_none() {
            return Err(Error::Options("the server does not compress: leave out --deflate"));
        }
        let consumed = step.consumed;
        self.slots[index] = None;
        self.under_way -= 1;
        Ok(Some(consumed))
    }
}
