//! `palisade explain`.

use super::{Conf, print};
use crate::policy::{self, Question};
use bytes::Bytes;
use palisade_contract::Descriptor;
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
};

const EXAMPLE: &str = "\
Example:
  palisade explain --conf conf https://shop.example.com/cart
  palisade explain --conf conf -X POST /orders -H 'apikey: demo-key-alice' -d '{\"qty\": 1}'
  palisade explain --conf conf /profiles/carol --consumer bob --json

Nothing is sent: the request goes through the real chain as it would if it came in now. Printed are the listener, the \
canonical form, the route and why it is none of its neighbours, each decision with the file and line of its entry, and \
what the origin would get: `+` is added, `~` changed, `-` removed. What is fetched or shared (keys at an address, \
stores) is not there; with `--consumer` the route's authenticators are taken as satisfied.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// A path, or a whole address.
    #[arg(value_name = "URL")]
    url: String,
    #[command(flatten)]
    conf: Conf,
    /// The method; by default GET, and POST where there is a body.
    #[arg(long, short = 'X', value_name = "NAME")]
    method: Option<String>,
    /// A header field, `Name: value`; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "FIELD")]
    headers: Vec<String>,
    /// The body; `@FILE` is what a file holds.
    #[arg(long, short = 'd', value_name = "BODY")]
    data: Option<String>,
    /// The address that it comes from.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client_ip: IpAddr,
    /// The listener that it comes in on; by default one for the address's scheme, `public` before others.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Take it as proved that this consumer calls.
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<(), String> {
    let headers = args.headers.iter().map(|field| {
        let (name, value) = field.split_once(':').ok_or_else(|| format!("`{field}` is not `Name: value`"))?;
        Ok((name.to_owned(), value.trim().to_owned()))
    });
    let question = Question {
        method: args.method.clone(),
        url: args.url.clone(),
        headers: headers.collect::<Result<_, String>>()?,
        body: body(args.data.as_deref())?,
        client_ip: args.client_ip,
        listener: args.listener.clone(),
        consumer: args.consumer.clone(),
    };
    let (config, _) = policy::load(&args.conf.conf, registry).map_err(|error| error.to_string())?;
    let explained = policy::explain(question, &config, registry)?;
    if args.json {
        return print(&serde_json::to_string_pretty(&explained).map_err(|error| error.to_string())?);
    }
    print(&explained.text())
}

fn body(data: Option<&str>) -> Result<Bytes, String> {
    let Some(data) = data else { return Ok(Bytes::new()) };
    let Some(file) = data.strip_prefix('@') else { return Ok(data.to_owned().into()) };
    fs::read(file).map(Bytes::from).map_err(|error| format!("cannot read `{file}`: {error}"))
}
