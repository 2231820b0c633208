use super::*;

const OLD: &str = include_str!("../../../tests/modules/_rabbitmq/export-3.10.8.json");
const NEW: &str = include_str!("../../../tests/modules/_rabbitmq/export-4.0.5.json");
