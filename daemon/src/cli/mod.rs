//! One file a command: call the library, print.
