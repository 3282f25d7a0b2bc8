//! How much is taken in at once: requests, and bytes of their bodies.

use std::{pin::pin, time::Duration};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use service::{
    http::is_json,
    problem::{Code, Problem},
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::answer::SOON;
use crate::ProducerConfig;

/// How long a body may take to arrive: a sender that dawdles holds a place.
const ARRIVAL: Duration = Duration::from_secs(30);
/// Of a body's announced length, reserved at once; the rest as it comes.
const RESERVED: usize = 256 << 10;

/// Lets requests and their bodies in while there is room.
pub(crate) struct Gate {
    places: Semaphore,
    bytes: Semaphore,
    max_body: usize,
}

/// A body, and its share of the room.
pub(crate) struct Arrived<'a> {
    pub(crate) body: Bytes,
    /// Held while the body is; its drop makes room.
    pub(crate) _room: Option<SemaphorePermit<'a>>,
}

impl Gate {
    pub(crate) fn new(config: &ProducerConfig) -> Self {
        Self {
            places: Semaphore::new(config.max_concurrent),
            bytes: Semaphore::new(config.max_in_flight_bytes as usize),
            max_body: config.max_body_bytes(),
        }
    }

    /// A place for a request.
    pub(crate) fn enter(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.places.try_acquire().map_err(|_| full("too many requests at once"))
    }

    /// Reads a body, as long as it is JSON by its headers, is not too large, and there is room for what arrives.
    pub(crate) async fn receive(&self, headers: &HeaderMap, body: Body) -> Result<Arrived<'_>, Problem> {
        if !is_json(headers) {
            return Err(Problem::new(Code::UnsupportedMediaType));
        }
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let announced = announced.unwrap_or(0);
        if announced > self.max_body {
            return Err(self.too_large());
        }
        let late = || Problem::new(Code::MalformedJson).detail(format!("no whole body in {} s", ARRIVAL.as_secs()));
        timeout(ARRIVAL, self.read(announced, body)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn read(&self, announced: usize, body: Body) -> Result<Arrived<'_>, Problem> {
        let mut whole = BytesMut::with_capacity(announced.min(RESERVED));
        let mut room: Option<SemaphorePermit<'_>> = None;
        let mut chunks = pin!(body.into_data_stream());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::new(Code::MalformedJson).detail("the body broke off"))?;
            if whole.len() + chunk.len() > self.max_body {
                return Err(self.too_large());
            }
            let weight = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let more = self.bytes.try_acquire_many(weight).map_err(|_| full("too many bytes at once"))?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(Arrived { body: whole.freeze(), _room: room })
    }

    fn too_large(&self) -> Problem {
        Problem::new(Code::PayloadTooLarge).detail(format!("a body may have {} bytes", self.max_body))
    }
}

fn full(detail: &str) -> Problem {
    Problem::new(Code::TooManyRequests).detail(detail).retry_after(SOON)
}
