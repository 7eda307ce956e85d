//! The gateway's own answers, written to the client.

use super::{
    ctx::{Ctx, Flight},
    exchange,
};
use crate::{
    chain::Stop,
    edge::{self, stream::Cut},
    respond::Answer,
};
use http::{Method, StatusCode};
use palisade_contract::{Denial, Fault, ResponseHeader};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    proxy::{FailToProxy, Session},
};

/// True where no answer has begun; interim ones (RFC 9110 §15.2) are none.
fn is_unanswered(session: &Session) -> bool {
    let interim = |head: &ResponseHeader| {
        head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS
    };
    session.response_written().is_none_or(interim)
}

impl Flight {
    /// The answer to what stopped the request, after response hooks have seen it. The flight has the request's head.
    pub(super) async fn own_answer(&mut self, stop: &Stop) -> Result<(Answer, ResponseHeader)> {
        let errors: Vec<_> = self.route.errors.iter().collect();
        let answer = Answer::of(stop, self.ex.id(), &errors);
        let mut head = answer.head()?;
        let chain = self.chain.clone();
        // A response hook that fails on a refusal cannot make it an admission: the answer stands.
        let _ = chain.response(&mut self.ex, &mut self.run, &mut head, true).await;
        super::response::explain(self, &mut head)?;
        Ok((answer, head))
    }
}

impl Ctx {
    /// Answers what stopped the request. Response hooks see the answer first.
    pub(super) async fn answer(&mut self, session: &mut Session, stop: &Stop) -> Result<()> {
        let Some(flight) = &mut self.flight else { return Ok(()) };
        flight.swap(session);
        let made = flight.own_answer(stop).await;
        flight.swap(session);
        let (answer, head) = made?;
        self.reason = Some(answer.reason);
        if !session.is_body_done() {
            if flight.guard.as_ref().is_some_and(edge::Guard::has_whole_body) {
                // Nothing is left to come: Pingora takes it from the guard when the answer is sent.
                session.set_close_on_response_before_downstream_finish(false);
            } else {
                // The rest of the body is not read: the connection cannot be used again.
                session.set_keepalive(None);
            }
        }
        self.status = head.status.as_u16();
        let bodyless = session.req_header().method == Method::HEAD || answer.body().is_empty();
        session.write_response_header(Box::new(head), bodyless).await?;
        if !bodyless {
            self.response_bytes = answer.body().len() as u64;
            session.write_response_body(Some(answer.body().clone()), true).await?;
        }
        Ok(())
    }

    /// Something failed on the way to the origin or back, or a plugin refused on the way.
    pub(super) async fn answer_failure(&mut self, session: &mut Session, error: &Error) -> FailToProxy {
        let waited = *error.esource() == ErrorSource::Upstream && *error.etype() == ErrorType::ReadTimedout;
        if self.left {
            self.reason = Some("client_closed");
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let late = edge::stream::late().filter(|_| !self.child);
        if late == Some(Cut::Exchange) {
            self.took_too_long();
            self.stop.get_or_insert(Stop::Faulted(Fault::timeout(exchange::OVER)));
        }
        let waited = waited || late == Some(Cut::Body);
        let stop = self.stop.take().or_else(|| match waited && self.unfinished {
            // The origin waited for the client, as we did.
            true => Some(Stop::Denied(Denial::new(StatusCode::REQUEST_TIMEOUT, "body_timeout"))),
            false => self.stop_of(error),
        });
        if self.child {
            // The parent answers its client.
            self.stop = stop;
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        // Pingora uses the connection for nothing else after this; the client is told.
        session.set_keepalive(None);
        let code = match (&stop, is_unanswered(session)) {
            (Some(stop), true) => match self.answer(session, stop).await {
                Ok(()) => self.status,
                Err(_) => 0,
            },
            // The head is already on its way: the transfer is broken off, never completed.
            _ => 0,
        };
        if let (Some(stop), None) = (&stop, self.reason) {
            self.reason = Some(reason_of(stop));
        }
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    /// What an error of Pingora's means; none where the client is gone.
    pub(super) fn stop_of(&mut self, error: &Error) -> Option<Stop> {
        if let Some(violation) = self.flight.as_ref().and_then(|flight| flight.guard.as_ref()?.violation()) {
            if violation.status == StatusCode::GATEWAY_TIMEOUT {
                self.took_too_long();
                return Some(Stop::Faulted(Fault::timeout(violation.reason)));
            }
            let status = StatusCode::from_u16(violation.status).unwrap_or(StatusCode::BAD_REQUEST);
            return Some(Stop::Denied(Denial::new(status, violation.reason)));
        }
        let fault = match error.esource() {
            ErrorSource::Downstream => match error.etype() {
                // An `H2Error` here is a stream that the client has reset.
                ErrorType::WriteError
                | ErrorType::ReadError
                | ErrorType::ConnectionClosed
                | ErrorType::H2Error => {
                    self.reason = Some("client_closed");
                    return None;
                }
                _ => return Some(Stop::Denied(Denial::bad_request("request_malformed"))),
            },
            ErrorSource::Upstream => match error.etype() {
                ErrorType::ReadTimedout if self.is_over() => Fault::timeout(exchange::OVER),
                ErrorType::ConnectTimedout
                | ErrorType::ReadTimedout
                | ErrorType::WriteTimedout
                | ErrorType::TLSHandshakeTimedout => Fault::timeout("upstream_timeout"),
                ErrorType::ConnectRefused | ErrorType::ConnectNoRoute | ErrorType::ConnectError => {
                    Fault::bad_dependency("upstream_unreachable")
                }
                ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert => {
                    Fault::bad_dependency("upstream_tls")
                }
                _ => Fault::bad_dependency("upstream_broken"),
            },
            ErrorSource::Internal | ErrorSource::Unset => match error.etype() {
                ErrorType::HTTPStatus(503) => Fault::unavailable("unavailable"),
                _ => Fault::internal("internal"),
            },
        };
        Some(Stop::Faulted(fault))
    }
}

fn reason_of(stop: &Stop) -> &'static str {
    match stop {
        Stop::Denied(denial) => denial.reason(),
        Stop::Replied(reply) => reply.reason(),
        Stop::Faulted(fault) => fault.reason(),
    }
}
