//! Takes events in, over HTTP or as a library, and publishes them, confirmed.
