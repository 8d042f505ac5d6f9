//! The `dns` prober: one query, and checks of the answer's code and records.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::certs;
use super::check::{ReadyDns, ReadySection};
use super::dial::{Tools, connect, host_port};
use super::settings::{DnsTransport, ProbeTarget};
use super::sheet::{Failed, Sheet};

mod message;

pub(super) use message::{Question, rcode};

const PHASES: &str = "probe_dns_duration_seconds";

pub(super) async fn probe_dns(
    tools: &Tools,
    dns: &ReadyDns,
    target: &ProbeTarget,
    sheet: &mut Sheet,
) -> Result<(), Failed> {
    for phase in ["resolve", "connect", "request"] {
        sheet.set_with(PHASES, &[("phase", phase)], 0.0);
    }
    for family in ["answer", "authority", "additional"].map(family_of) {
        sheet.set(family, 0.0);
    }
    sheet.set("probe_dns_query_succeeded", 0.0);
    let usual_port = if matches!(dns.settings.transport, DnsTransport::Tls(_)) { 853 } else { 53 };
    let (host, port) = host_port(&target.address).unwrap_or((&target.address, usual_port));
    let (ip, took) = tools.choose(dns.settings.ip, host, sheet).await?;
    sheet.set_with(PHASES, &[("phase", "resolve")], took);
    let id = tools.clock.elapsed().as_nanos() as u16;
    let query = dns.query.to_bytes(id);
    let server = SocketAddr::new(ip, port);
    let reply = match &dns.settings.transport {
        DnsTransport::Udp => over_udp(tools, dns, server, &query, sheet).await?,
        transport => over_stream(tools, dns, transport, (host, server), &query, sheet).await?,
    };
    sheet.set("probe_dns_query_succeeded", 1.0);
    judge(dns, id, &reply, sheet)
}

fn family_of(section: &str) -> &'static str {
    match section {
        "answer" => "probe_dns_answer_rrs",
        "authority" => "probe_dns_authority_rrs",
        _ => "probe_dns_additional_rrs",
    }
}

async fn over_udp(
    tools: &Tools,
    dns: &ReadyDns,
    server: SocketAddr,
    query: &[u8],
    sheet: &mut Sheet,
) -> Result<Vec<u8>, Failed> {
    let start = tools.clock.elapsed();
    let any: std::net::IpAddr =
        if server.is_ipv4() { std::net::Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let dial = async {
        let socket = UdpSocket::bind((dns.settings.source_ip_address.unwrap_or(any), 0)).await?;
        socket.connect(server).await?;
        Ok::<_, std::io::Error>(socket)
    };
    let socket = dial.await.map_err(|error| sheet.fail(format!("connect to {server}: {error}")))?;
    let connected = tools.clock.elapsed();
    sheet.set_with(PHASES, &[("phase", "connect")], (connected - start).as_secs_f64());
    let sent = socket.send(query).await;
    sent.map_err(|error| sheet.fail(format!("send to {server}: {error}")))?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = socket.recv(&mut buffer).await;
        let read = read.map_err(|error| sheet.fail(format!("receive from {server}: {error}")))?;
        // What does not bear our identifier was not asked for.
        if read >= 2 && buffer[..2] == query[..2] {
            sheet.set_with(PHASES, &[("phase", "request")], (tools.clock.elapsed() - connected).as_secs_f64());
            buffer.truncate(read);
            return Ok(buffer);
        }
    }
}

async fn over_stream(
    tools: &Tools,
    dns: &ReadyDns,
    transport: &DnsTransport,
    (host, server): (&str, SocketAddr),
    query: &[u8],
    sheet: &mut Sheet,
) -> Result<Vec<u8>, Failed> {
    let start = tools.clock.elapsed();
    let stream = connect(server, dns.settings.source_ip_address, sheet).await?;
    let DnsTransport::Tls(settings) = transport else {
        let connected = tools.clock.elapsed();
        sheet.set_with(PHASES, &[("phase", "connect")], (connected - start).as_secs_f64());
        return exchange(tools, stream, query, sheet).await;
    };
    let name = settings.server_name.as_deref().unwrap_or(host);
    let secure = tools.start_tls(settings, name, stream, sheet).await?;
    sheet.set_with(PHASES, &[("phase", "connect")], (tools.clock.elapsed() - start).as_secs_f64());
    certs::note(secure.get_ref().1, !settings.insecure_skip_verify, false, sheet);
    exchange(tools, secure, query, sheet).await
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    tools: &Tools,
    mut stream: S,
    query: &[u8],
    sheet: &mut Sheet,
) -> Result<Vec<u8>, Failed> {
    let start = tools.clock.elapsed();
    let talk = async {
        let mut framed = (query.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(query);
        stream.write_all(&framed).await?;
        stream.flush().await?;
        let length = stream.read_u16().await?;
        let mut reply = vec![0; usize::from(length)];
        stream.read_exact(&mut reply).await?;
        Ok::<_, std::io::Error>(reply)
    };
    let reply = talk.await.map_err(|error| sheet.fail(format!("query: {error}")))?;
    sheet.set_with(PHASES, &[("phase", "request")], (tools.clock.elapsed() - start).as_secs_f64());
    Ok(reply)
}

fn judge(dns: &ReadyDns, id: u16, reply: &[u8], sheet: &mut Sheet) -> Result<(), Failed> {
    let reply = message::Reply::parse(reply, id).map_err(|problem| sheet.fail(format!("the answer {problem}")))?;
    for (name, records) in ["answer", "authority", "additional"].into_iter().zip(&reply.sections) {
        sheet.set(family_of(name), records.len() as f64);
    }
    if dns.query.is_soa() {
        let serial = reply.sections[0].iter().find_map(|record| record.serial);
        sheet.set("probe_dns_serial", serial.map_or(0.0, f64::from));
    }
    if !dns.rcodes.contains(&reply.rcode) {
        return Err(sheet.fail(format!("the response code is {}", message::rcode_name(reply.rcode))));
    }
    for (records, checks) in reply.sections.iter().zip(&dns.sections) {
        let texts: Vec<&str> = records.iter().map(|record| record.text.as_str()).collect();
        records_good(&texts, checks).map_err(|problem| sheet.fail(problem))?;
    }
    Ok(())
}

fn records_good(records: &[&str], checks: &ReadySection) -> Result<(), String> {
    let matches = |regex: &regex::bytes::Regex, text: &str| regex.is_match(text.as_bytes());
    if records.is_empty() && !(checks.if_not_matches.is_empty() && checks.if_none_matches.is_empty()) {
        return Err("there are no records, but some must match".to_owned());
    }
    for text in records {
        if let Some(regex) = checks.if_matches.iter().find(|regex| matches(regex, text)) {
            return Err(format!("the record {text:?} matches {regex}"));
        }
        if let Some(regex) = checks.if_not_matches.iter().find(|regex| !matches(regex, text)) {
            return Err(format!("the record {text:?} does not match {regex}"));
        }
    }
    let all = |text: &&str| checks.if_all_match.iter().all(|regex| matches(regex, text));
    if !checks.if_all_match.is_empty() && records.iter().all(all) {
        return Err("all records match".to_owned());
    }
    let any = |text: &&str| checks.if_none_matches.iter().any(|regex| matches(regex, text));
    if !checks.if_none_matches.is_empty() && !records.iter().any(any) {
        return Err("no record matches".to_owned());
    }
    Ok(())
}
