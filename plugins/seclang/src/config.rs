//! What directives other than rules set.

use crate::{body::xpath::Path, rule::Engine, transform::Mapping};
use std::sync::Arc;

/// What is done with what is over a body's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverLimit {
    /// The request is refused.
    Reject,
    /// What is under the limit is inspected.
    ProcessPartial,
}

/// The settings of a rule set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// `SecRuleEngine`; on where no directive says otherwise.
    pub engine: Engine,
    /// `SecRequestBodyAccess`.
    pub request_body_access: bool,
    /// `SecResponseBodyAccess`.
    pub response_body_access: bool,
    /// `SecRequestBodyLimit`, in bytes.
    pub request_body_limit: usize,
    /// `SecRequestBodyNoFilesLimit`, in bytes.
    pub request_body_no_files_limit: usize,
    /// `SecRequestBodyLimitAction`.
    pub request_body_limit_action: OverLimit,
    /// `SecResponseBodyLimit`, in bytes.
    pub response_body_limit: usize,
    /// `SecResponseBodyLimitAction`.
    pub response_body_limit_action: OverLimit,
    /// `SecResponseBodyMimeType`: types whose bodies are inspected; empty for all.
    pub response_body_types: Vec<String>,
    /// `SecRequestBodyJsonDepthLimit`.
    pub json_depth_limit: usize,
    /// `SecArgumentsLimit`.
    pub arguments_limit: usize,
    /// `SecArgumentSeparator`.
    pub argument_separator: u8,
    /// `SecCollectionTimeout`, in seconds.
    pub collection_timeout: u64,
    /// `SecUploadFileLimit`.
    pub upload_file_limit: usize,
    /// `SecComponentSignature`, in the order of the files.
    pub components: Vec<String>,
    /// `SecWebAppId`.
    pub web_app_id: String,
    pub(crate) mapping: Arc<Mapping>,
    /// The paths into documents that rules ask for.
    pub(crate) xml_paths: Vec<Path>,
    /// Whether a rule asks what is in files.
    pub(crate) file_contents: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            engine: Engine::On,
            request_body_access: true,
            response_body_access: false,
            request_body_limit: 13_107_200,
            request_body_no_files_limit: 131_072,
            request_body_limit_action: OverLimit::Reject,
            response_body_limit: 524_288,
            response_body_limit_action: OverLimit::ProcessPartial,
            response_body_types: Vec::new(),
            json_depth_limit: 512,
            arguments_limit: 1000,
            argument_separator: b'&',
            collection_timeout: 3600,
            upload_file_limit: 100,
            components: Vec::new(),
            web_app_id: String::new(),
            mapping: Mapping::best_fit(),
            xml_paths: Vec::new(),
            file_contents: false,
        }
    }
}
