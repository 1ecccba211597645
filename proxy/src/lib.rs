//! Sightline's proxy: cameras in, one WebSocket out.
pub mod app;
pub mod auth;
pub mod config;
pub mod demo;
pub mod egress;
pub mod http;
pub mod hub;
pub mod ingest;
pub mod media;
pub mod metrics;
pub mod mux;
pub mod rtsp;
