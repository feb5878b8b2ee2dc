//! The routed decoding loop, generic over core's traits: what a device runs.
