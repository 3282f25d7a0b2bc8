//! One event in; for each interested endpoint one delivery out.
