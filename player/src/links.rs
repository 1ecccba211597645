//! The page's links, and a session's seat on one of them.
//!
//! All sessions with one server share one socket, wherever on the page they are and whichever script made them. What is
//! said on it and when is the link's matter.
//!
//! Invariant: a link lives as long as somebody sits on it; its events are handled one at a time, in order.

use alloc::rc::{Rc, Weak};
use core::cell::{Cell, RefCell};

use sightline_wire::Header;
use wasm_bindgen::__rt::LazyCell;

use crate::browser::{Uint8Array, now_ms, random};
use crate::link::{Ask, Command, Event, Link, News, Wanted};
use crate::prelude::*;
use crate::transport::{Message, Transport};

/// What a session hears.
pub(crate) enum Heard {
    News(News),
    Fragment(Box<Header>, Uint8Array),
}

type Ear = Rc<dyn Fn(Heard)>;

struct Shared {
    url: String,
    link: RefCell<Link>,
    transport: RefCell<Option<Transport>>,
    seats: RefCell<Vec<(u32, Ear, Weak<Place>)>>,
    events: RefCell<Vec<Event>>,
    busy: Cell<bool>,
}

/// Where a session sits: on another link when it was moved.
type Place = RefCell<Rc<Shared>>;

/// What all sessions of a page share.
#[derive(Default)]
struct Page {
    links: RefCell<Vec<Rc<Shared>>>,
    /// Names the next member.
    next: Cell<u32>,
}

/// A page has one thread. `thread_local!` is the standard library's; this is the cell of which `wasm-bindgen`, whose version
/// is pinned, makes its own.
static PAGE: LazyCell<Page> = LazyCell::new(Page::default);

/// A session's seat on a link. It leaves when this is dropped.
pub(crate) struct Seat {
    member: u32,
    place: Rc<Place>,
}

impl Seat {
    /// Joins the link to this server that others of the page use already, or makes one.
    pub(crate) fn join(url: &str, codecs: Vec<String>, stream: &str, ear: Ear) -> Self {
        let member = PAGE.next.replace(PAGE.next.get().wrapping_add(1));
        let shared = {
            let mut links = PAGE.links.borrow_mut();
            let found = links.iter().find(|shared| {
                shared.url == url && shared.link.try_borrow().is_ok_and(|link| link.takes(&codecs, stream))
            });
            found.cloned().unwrap_or_else(|| {
                let shared = Shared::new(url, codecs);
                links.push(Rc::clone(&shared));
                shared
            })
        };
        let place = Rc::new(RefCell::new(Rc::clone(&shared)));
        shared.seats.borrow_mut().push((member, ear, Rc::downgrade(&place)));
        shared.take(Event::Joined { member, stream: stream.into() });
        Self { member, place }
    }

    pub(crate) fn ask(&self, ask: Ask) {
        self.take(Event::Ask(self.member, ask, random()));
    }

    pub(crate) fn tick(&self) {
        self.take(Event::Tick(random()));
    }

    pub(crate) fn network_back(&self) {
        self.take(Event::NetworkBack);
    }

    fn take(&self, event: Event) {
        let shared = Rc::clone(&self.place.borrow());
        shared.take(event);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let shared = Rc::clone(&self.place.borrow());
        shared.seats.borrow_mut().retain(|seat| seat.0 != self.member);
        shared.take(Event::Left(self.member));
        shared.end_if_empty();
    }
}

impl Shared {
    fn new(url: &str, codecs: Vec<String>) -> Rc<Self> {
        Rc::new(Self {
            url: url.into(),
            link: RefCell::new(Link::new(codecs)),
            transport: RefCell::default(),
            seats: RefCell::default(),
            events: RefCell::default(),
            busy: Cell::new(false),
        })
    }

    fn end_if_empty(self: &Rc<Self>) {
        if self.seats.borrow().is_empty() {
            PAGE.links.borrow_mut().retain(|shared| !Rc::ptr_eq(shared, self));
            self.transport.take();
        }
    }

    /// Handles an event, and those that carrying out its commands causes.
    fn take(self: &Rc<Self>, event: Event) {
        self.events.borrow_mut().push(event);
        if self.busy.replace(true) {
            return;
        }
        while !self.events.borrow().is_empty() {
            let event = self.events.borrow_mut().remove(0);
            let commands = self.link.borrow_mut().handle(event, now_ms());
            for command in commands {
                self.carry_out(command);
            }
        }
        self.busy.set(false);
    }

    fn carry_out(self: &Rc<Self>, command: Command) {
        match command {
            Command::Connect(connection) => self.connect(connection),
            Command::Disconnect => drop(self.transport.take()),
            Command::Send(text) => {
                if let Some(transport) = &*self.transport.borrow() {
                    transport.send(&text);
                }
            }
            Command::Tell(member, news) => self.tell(member, Heard::News(news)),
            Command::Move(member, stream, wanted) => self.move_away(member, stream, wanted),
        }
    }

    fn tell(&self, member: u32, heard: Heard) {
        let ear = self.seats.borrow().iter().find(|seat| seat.0 == member).map(|seat| Rc::clone(&seat.1));
        if let Some(ear) = ear {
            ear(heard);
        }
    }

    fn move_away(self: &Rc<Self>, member: u32, stream: String, wanted: Wanted) {
        let mut seats = self.seats.borrow_mut();
        let Some(index) = seats.iter().position(|seat| seat.0 == member) else { return };
        let seat = seats.swap_remove(index);
        drop(seats);
        let Some(place) = seat.2.upgrade() else { return };
        let shared = Self::new(&self.url, self.link.borrow().codecs().to_vec());
        PAGE.links.borrow_mut().push(Rc::clone(&shared));
        place.replace(Rc::clone(&shared));
        shared.seats.borrow_mut().push(seat);
        shared.take(Event::Joined { member, stream });
        shared.take(Event::Ask(member, Ask::Subscribe(wanted), random()));
        self.end_if_empty();
    }

    fn connect(self: &Rc<Self>, connection: u32) {
        drop(self.transport.take());
        let weak = Rc::downgrade(self);
        let tell = move |message| {
            let Some(shared) = weak.upgrade() else { return };
            match message {
                Message::Open => shared.take(Event::Open(connection)),
                Message::Closed(code) => shared.take(Event::Closed(connection, code, random())),
                Message::Text(text) => shared.take(Event::Text(connection, text)),
                Message::Fragment(header, payload) => {
                    let member = shared.link.borrow_mut().on_fragment(connection, header.number, now_ms());
                    if let Some(member) = member {
                        shared.tell(member, Heard::Fragment(header, payload));
                    }
                }
                Message::Unreadable => shared.take(Event::Unreadable),
            }
        };
        match Transport::open(&self.url, tell) {
            Ok(transport) => drop(self.transport.replace(Some(transport))),
            Err(_) => self.take(Event::Closed(connection, 1006, random())),
        }
    }
}
