//! Whole programs on the real engine, of any number of workers, that crash and go on with another.
