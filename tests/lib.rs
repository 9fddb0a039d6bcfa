//! The tests of the whole, through the public API: each program is beside this file, and its head says what it proves.
