//! The variables of the language, and where each one's values come from.

/// A list of a transaction that can hold several values with names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum List {
    Args,
    Headers,
    Cookies,
    Files,
    FileSizes,
    PartHeaders,
    PartNames,
    PartFilenames,
    XmlText,
    XmlAttributes,
    XmlPaths,
    FileContents,
    ResponseHeaders,
}

/// How many lists there are.
pub(crate) const LISTS: usize = List::ResponseHeaders as usize + 1;

/// Which arguments a variable takes of [`List::Args`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// From wherever they come.
    Any,
    /// Of the query.
    Query,
    /// Of a form in the body.
    Form,
}

/// What a variable shows of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum View {
    /// Its value.
    Value,
    /// Its name.
    Name,
}

/// Where the values of a variable are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// In a list of the transaction.
    List(List, View, Origin),
    /// In a slot of the transaction that holds one value or none; the slot's number is the variable.
    Slot,
    /// In the transaction's `TX` collection.
    Tx,
    /// In a collection that outlives the transaction.
    Kept,
    /// Computed from the state of evaluation when it is asked for.
    State,
}

macro_rules! variables {
    ($($name:ident $text:literal $source:expr;)*) => {
        /// A variable of the language.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the language's manual says what each one is")]
        pub enum Variable { $($name,)* }

        /// All variables, in the order of their numbers.
        pub(crate) const VARIABLES: &[Variable] = &[$(Variable::$name,)*];

        impl Variable {
            /// The name as rules write it, in capitals.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub(crate) fn source(self) -> Source {
                use Source::{Kept, List as L, Slot, State, Tx};
                use View::{Name, Value};
                use Origin::{Any, Form, Query};
                match self { $(Self::$name => $source,)* }
            }
        }
    };
}

variables! {
    Args "ARGS" L(List::Args, Value, Any);
    ArgsNames "ARGS_NAMES" L(List::Args, Name, Any);
    ArgsGet "ARGS_GET" L(List::Args, Value, Query);
    ArgsGetNames "ARGS_GET_NAMES" L(List::Args, Name, Query);
    ArgsPost "ARGS_POST" L(List::Args, Value, Form);
    ArgsPostNames "ARGS_POST_NAMES" L(List::Args, Name, Form);
    RequestHeaders "REQUEST_HEADERS" L(List::Headers, Value, Any);
    RequestHeadersNames "REQUEST_HEADERS_NAMES" L(List::Headers, Name, Any);
    RequestCookies "REQUEST_COOKIES" L(List::Cookies, Value, Any);
    RequestCookiesNames "REQUEST_COOKIES_NAMES" L(List::Cookies, Name, Any);
    Files "FILES" L(List::Files, Value, Any);
    FilesNames "FILES_NAMES" L(List::Files, Name, Any);
    FilesSizes "FILES_SIZES" L(List::FileSizes, Value, Any);
    FilesTmpContent "FILES_TMP_CONTENT" L(List::FileContents, Value, Any);
    MultipartPartHeaders "MULTIPART_PART_HEADERS" L(List::PartHeaders, Value, Any);
    MultipartName "MULTIPART_NAME" L(List::PartNames, Value, Any);
    MultipartFilename "MULTIPART_FILENAME" L(List::PartFilenames, Value, Any);
    XmlText "XML" L(List::XmlText, Value, Any);
    XmlAttributes "XML" L(List::XmlAttributes, Value, Any);
    XmlPath "XML" L(List::XmlPaths, Value, Any);
    ResponseHeaders "RESPONSE_HEADERS" L(List::ResponseHeaders, Value, Any);
    ResponseHeadersNames "RESPONSE_HEADERS_NAMES" L(List::ResponseHeaders, Name, Any);
    ArgsCombinedSize "ARGS_COMBINED_SIZE" Slot;
    AuthType "AUTH_TYPE" Slot;
    FilesCombinedSize "FILES_COMBINED_SIZE" Slot;
    FullRequest "FULL_REQUEST" Slot;
    FullRequestLength "FULL_REQUEST_LENGTH" Slot;
    InboundDataError "INBOUND_DATA_ERROR" Slot;
    OutboundDataError "OUTBOUND_DATA_ERROR" Slot;
    ModsecBuild "MODSEC_BUILD" Slot;
    MultipartBoundaryQuoted "MULTIPART_BOUNDARY_QUOTED" Slot;
    MultipartBoundaryWhitespace "MULTIPART_BOUNDARY_WHITESPACE" Slot;
    MultipartCrlfLfLines "MULTIPART_CRLF_LF_LINES" Slot;
    MultipartDataAfter "MULTIPART_DATA_AFTER" Slot;
    MultipartDataBefore "MULTIPART_DATA_BEFORE" Slot;
    MultipartFileLimitExceeded "MULTIPART_FILE_LIMIT_EXCEEDED" Slot;
    MultipartHeaderFolding "MULTIPART_HEADER_FOLDING" Slot;
    MultipartInvalidHeaderFolding "MULTIPART_INVALID_HEADER_FOLDING" Slot;
    MultipartInvalidPart "MULTIPART_INVALID_PART" Slot;
    MultipartInvalidQuoting "MULTIPART_INVALID_QUOTING" Slot;
    MultipartLfLine "MULTIPART_LF_LINE" Slot;
    MultipartMissingSemicolon "MULTIPART_MISSING_SEMICOLON" Slot;
    MultipartSemicolonMissing "MULTIPART_SEMICOLON_MISSING" Slot;
    MultipartStrictError "MULTIPART_STRICT_ERROR" Slot;
    MultipartUnmatchedBoundary "MULTIPART_UNMATCHED_BOUNDARY" Slot;
    PathInfo "PATH_INFO" Slot;
    QueryString "QUERY_STRING" Slot;
    RemoteAddr "REMOTE_ADDR" Slot;
    RemoteHost "REMOTE_HOST" Slot;
    RemotePort "REMOTE_PORT" Slot;
    RemoteUser "REMOTE_USER" Slot;
    ReqbodyError "REQBODY_ERROR" Slot;
    ReqbodyErrorMsg "REQBODY_ERROR_MSG" Slot;
    ReqbodyProcessor "REQBODY_PROCESSOR" Slot;
    ReqbodyProcessorError "REQBODY_PROCESSOR_ERROR" Slot;
    ReqbodyProcessorErrorMsg "REQBODY_PROCESSOR_ERROR_MSG" Slot;
    RequestBasename "REQUEST_BASENAME" Slot;
    RequestBody "REQUEST_BODY" Slot;
    RequestBodyLength "REQUEST_BODY_LENGTH" Slot;
    RequestFilename "REQUEST_FILENAME" Slot;
    RequestLine "REQUEST_LINE" Slot;
    RequestMethod "REQUEST_METHOD" Slot;
    RequestProtocol "REQUEST_PROTOCOL" Slot;
    RequestUri "REQUEST_URI" Slot;
    RequestUriRaw "REQUEST_URI_RAW" Slot;
    ResponseBody "RESPONSE_BODY" Slot;
    ResponseContentLength "RESPONSE_CONTENT_LENGTH" Slot;
    ResponseContentType "RESPONSE_CONTENT_TYPE" Slot;
    ResponseProtocol "RESPONSE_PROTOCOL" Slot;
    ResponseStatus "RESPONSE_STATUS" Slot;
    ServerAddr "SERVER_ADDR" Slot;
    ServerName "SERVER_NAME" Slot;
    ServerPort "SERVER_PORT" Slot;
    StatusLine "STATUS_LINE" Slot;
    UniqueId "UNIQUE_ID" Slot;
    UrlencodedError "URLENCODED_ERROR" Slot;
    WebappId "WEBAPPID" Slot;
    Tx "TX" Tx;
    Ip "IP" Kept;
    Global "GLOBAL" Kept;
    Session "SESSION" Kept;
    User "USER" Kept;
    Resource "RESOURCE" Kept;
    Duration "DURATION" State;
    Geo "GEO" State;
    HighestSeverity "HIGHEST_SEVERITY" State;
    MatchedVar "MATCHED_VAR" State;
    MatchedVarName "MATCHED_VAR_NAME" State;
    MatchedVars "MATCHED_VARS" State;
    MatchedVarsNames "MATCHED_VARS_NAMES" State;
    Rule "RULE" State;
    SessionId "SESSIONID" State;
    Time "TIME" State;
    TimeDay "TIME_DAY" State;
    TimeEpoch "TIME_EPOCH" State;
    TimeHour "TIME_HOUR" State;
    TimeMin "TIME_MIN" State;
    TimeMon "TIME_MON" State;
    TimeSec "TIME_SEC" State;
    TimeWday "TIME_WDAY" State;
    TimeYear "TIME_YEAR" State;
    UserId "USERID" State;
}

/// How many slots a transaction has: one for each variable, used by those whose source is a slot.
pub(crate) const SLOTS: usize = Variable::UserId as usize + 1;

/// Variables of ModSecurity that are refused, with the reason.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("ENV", "the environment of the process is none of a request's"),
    ("FILES_TMPNAMES", "no file is written to a disk; `FILES_TMP_CONTENT` is what is in it"),
    ("WEBSERVER_ERROR_LOG", "the engine reads no log"),
    ("PERF_ALL", "the engine does not time its rules"),
    ("MSC_PCRE_ERROR", "expressions do not fail while they run"),
    ("MSC_PCRE_LIMITS_EXCEEDED", "an expression that meets a bound fires"),
    ("STREAM_INPUT_BODY", "bodies are inspected whole"),
    ("STREAM_OUTPUT_BODY", "bodies are inspected whole"),
];

impl Variable {
    /// The variable of a name in any case.
    pub(crate) fn find(name: &str) -> Option<Self> {
        VARIABLES.iter().copied().find(|variable| variable.name().eq_ignore_ascii_case(name))
    }

    /// Whether values have names of their own, by which they can be selected.
    pub(crate) fn is_collection(self) -> bool {
        match self.source() {
            Source::List(..) | Source::Tx | Source::Kept => true,
            Source::Slot => false,
            Source::State => {
                matches!(self, Self::MatchedVars | Self::MatchedVarsNames | Self::Rule | Self::Geo)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        for variable in VARIABLES {
            if !matches!(variable, Variable::XmlAttributes | Variable::XmlPath) {
                assert_eq!(Variable::find(&variable.name().to_lowercase()), Some(*variable));
            }
        }
        assert_eq!(Variable::find("ARG"), None);
        assert_eq!(VARIABLES.len(), SLOTS);
    }
}
