//! Sightline's proxy.
