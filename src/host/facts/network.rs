//! Interfaces, addresses, default routes.

use super::{Facts, Parts};
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;

pub fn all(parts: &Parts, facts: &mut Facts) {
    let mut interfaces = Map::new();
    for name in parts.names_below("/sys/class/net/") {
        if parts.has(&format!("/sys/class/net/{name}/address")) {
            interfaces.insert(name.to_owned(), device(parts, name));
        }
    }
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for line in parts.text("addr").lines() {
        // 2: eth0    inet 10.0.0.2/24 brd 10.0.0.255 scope global eth0\       valid_lft forever preferred_lft forever
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, name, family, address, rest @ ..] = &words[..] else {
            continue;
        };
        let (address, prefix) = address
            .split_once('/')
            .unwrap_or((address, if *family == "inet" { "32" } else { "128" }));
        let after = |word: &str| rest.iter().skip_while(|w| **w != word).nth(1).copied();
        let Some(Value::Object(device)) = interfaces.get_mut(*name) else {
            continue;
        };
        match *family {
            "inet" => {
                if !address.starts_with("127.") {
                    v4.push(address.to_owned());
                }
                let value = ipv4(address, prefix, after("brd").unwrap_or_default());
                if device.contains_key("ipv4") {
                    let more = device.entry("ipv4_secondaries").or_insert_with(|| json!([]));
                    if let Some(more) = more.as_array_mut() {
                        more.push(value);
                    }
                } else {
                    device.insert("ipv4".into(), value);
                }
            }
            "inet6" => {
                if address != "::1" {
                    v6.push(address.to_owned());
                }
                let value = json!({"address": address, "prefix": prefix, "scope": after("scope").unwrap_or_default()});
                let list = device.entry("ipv6").or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.push(value);
                }
            }
            _ => {}
        }
    }
    facts.insert(
        "default_ipv4".into(),
        default_route(parts.text("route4"), &interfaces, "ipv4"),
    );
    facts.insert(
        "default_ipv6".into(),
        default_route(parts.text("route6"), &interfaces, "ipv6"),
    );
    facts.insert("all_ipv4_addresses".into(), json!(v4));
    facts.insert("all_ipv6_addresses".into(), json!(v6));
    facts.insert("interfaces".into(), json!(interfaces.keys().collect::<Vec<_>>()));
    for (name, device) in interfaces {
        facts.insert(name.replace('-', "_"), device);
    }
}

/// What /etc/resolv.conf says.
pub fn dns(parts: &Parts, facts: &mut Facts) {
    let mut dns = Map::new();
    let mut servers = Vec::new();
    for line in parts.text("/etc/resolv.conf").lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.map(Value::from)),
            Some("domain") => {
                dns.extend(words.next().map(|name| ("domain".to_owned(), json!(name))));
            }
            Some(list @ ("search" | "sortlist")) => {
                dns.insert(list.to_owned(), words.collect());
            }
            Some("options") => {
                let options = words.map(|word| match word.split_once(':') {
                    Some((name, value)) => (name.to_owned(), json!(value)),
                    None => (word.to_owned(), json!(true)),
                });
                dns.insert("options".to_owned(), Value::Object(options.collect()));
            }
            _ => {}
        }
    }
    if !servers.is_empty() {
        dns.insert("nameservers".to_owned(), Value::Array(servers));
    }
    facts.insert("dns".into(), Value::Object(dns));
}

fn device(parts: &Parts, name: &str) -> Value {
    let file = |file: &str| format!("/sys/class/net/{name}/{file}");
    let mut device = Map::new();
    device.insert("device".into(), json!(name));
    device.insert("active".into(), json!(parts.text(&file("operstate")) != "down"));
    if let Some(address) = parts
        .some(&file("address"))
        .filter(|address| *address != "00:00:00:00:00:00")
    {
        device.insert("macaddress".into(), json!(address));
    }
    if let Ok(mtu) = parts.text(&file("mtu")).parse::<u64>() {
        device.insert("mtu".into(), json!(mtu));
    }
    // include/uapi/linux/if_arp.h
    let kind = match parts.text(&file("type")) {
        _ if parts.has(&file("bridge/bridge_id")) => "bridge",
        _ if parts.has(&file("bonding/mode")) => "bonding",
        "1" => "ether",
        "32" => "infiniband",
        "512" => "ppp",
        "772" => "loopback",
        "65534" => "tunnel",
        _ => "unknown",
    };
    device.insert("type".into(), json!(kind));
    // IFF_PROMISC
    let flags = parts.text(&file("flags")).trim_start_matches("0x");
    if let Ok(flags) = u32::from_str_radix(flags, 16) {
        device.insert("promisc".into(), json!(flags & 0x100 != 0));
    }
    if let Ok(speed) = parts.text(&file("speed")).parse::<i64>() {
        device.insert("speed".into(), json!(speed));
    }
    Value::Object(device)
}

fn ipv4(address: &str, prefix: &str, broadcast: &str) -> Value {
    let bits: u32 = prefix.parse().unwrap_or(32);
    let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
    let network = address
        .parse::<Ipv4Addr>()
        .map(|address| Ipv4Addr::from(u32::from(address) & mask).to_string());
    json!({
        "address": address,
        "prefix": prefix,
        "netmask": Ipv4Addr::from(mask).to_string(),
        "network": network.unwrap_or_default(),
        "broadcast": broadcast,
    })
}

/// From `8.8.8.8 via 10.0.0.1 dev eth0 src 10.0.0.2 uid 0`, and what is known of that interface; empty without a route.
fn default_route(route: &str, interfaces: &Map<String, Value>, family: &str) -> Value {
    let words: Vec<&str> = route.lines().next().unwrap_or_default().split_whitespace().collect();
    let after = |word: &str| words.iter().skip_while(|w| **w != word).nth(1).copied();
    let (Some(name), Some(source)) = (after("dev"), after("src")) else {
        return json!({});
    };
    let mut found = Map::new();
    found.insert("interface".into(), json!(name));
    found.insert("address".into(), json!(source));
    if let Some(gateway) = after("via") {
        found.insert("gateway".into(), json!(gateway));
    }
    let device = interfaces.get(name);
    for key in ["macaddress", "mtu", "type"] {
        if let Some(value) = device.and_then(|device| device.get(key)) {
            found.insert(key.into(), value.clone());
        }
    }
    if family == "ipv4" {
        found.insert("alias".into(), json!(name));
    }
    let secondaries = device
        .and_then(|device| device.get("ipv4_secondaries"))
        .and_then(Value::as_array);
    let addresses: Vec<&Value> = match device.and_then(|device| device.get(family)) {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => std::iter::once(one).chain(secondaries.into_iter().flatten()).collect(),
        None => Vec::new(),
    };
    let mine = addresses
        .into_iter()
        .find(|entry| entry.get("address").and_then(Value::as_str) == Some(source));
    if let Some(Value::Object(mine)) = mine {
        found.extend(mine.clone());
    }
    Value::Object(found)
}
