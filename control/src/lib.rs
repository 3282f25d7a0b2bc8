//! What operators look at and change; here, dead letters and their replays.
