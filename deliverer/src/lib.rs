//! One delivery in, one POST out, and what follows: done, retry later, or dead letter.
