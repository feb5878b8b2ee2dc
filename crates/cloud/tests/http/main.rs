//! The client and the server over real sockets.
