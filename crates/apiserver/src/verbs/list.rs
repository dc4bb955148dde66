//! `GET` of an object and of a collection.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mxjob_store::{ListOptions as StoreList, Page, ReadError, Revision};

use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::options::{self, ListOptions, VersionMatch};
use crate::rendering::ListMeta;
use crate::verbs::list::token::Token;

pub(crate) mod token;

/// Entries read from the store at a time where a selector may drop some.
const CHUNK: usize = 512;

/// Answers a `GET` of one object.
pub(crate) fn get(context: &Context<'_>) -> Result<Answer, ApiError> {
    let asked =
        options::resource_version(context.query.get("resourceVersion").unwrap_or_default())?;
    not_in_the_future(context, asked)?;
    let entry = context.entry()?;
    Ok(Answer::Object { kind: Arc::clone(context.kind), json: entry.value, code: StatusCode::OK })
}

fn not_in_the_future(context: &Context<'_>, asked: Option<Revision>) -> Result<(), ApiError> {
    let current = context.services.store.revision();
    match asked {
        Some(asked) if asked > current => {
            Err(ApiError::too_large_resource_version(asked.get(), current.get()))
        }
        _ => Ok(()),
    }
}

/// Answers a list.
pub(crate) fn list(context: &Context<'_>) -> Result<Answer, ApiError> {
    let options = ListOptions::parse(context.query, context.shown, false)?;
    let (items, meta) = select(context, &options)?;
    Ok(Answer::List { kind: Arc::clone(context.kind), items, meta })
}

/// The start of a list.
struct Start {
    after: Option<String>,
    at: Option<Revision>,
    limit: usize,
}

fn start(context: &Context<'_>, options: &ListOptions, prefix: &str) -> Result<Start, ApiError> {
    let version = options.resource_version.filter(|version| *version != Revision::ZERO);
    if !options.continue_token.is_empty() {
        if version.is_some() {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Token::parse(&options.continue_token)?;
        return Ok(Start {
            after: Some(token.after(prefix)),
            at: token.revision,
            limit: options.limit,
        });
    }
    let zero = options.resource_version == Some(Revision::ZERO);
    // Lists at version 0 ignore the limit, as upstream's cache does.
    let limit = if zero { 0 } else { options.limit };
    let exact = options.version_match == Some(VersionMatch::Exact)
        || (options.limit > 0 && options.version_match.is_none() && version.is_some());
    if exact {
        return Ok(Start { after: None, at: version, limit });
    }
    not_in_the_future(context, version)?;
    Ok(Start { after: None, at: None, limit })
}

/// The selected objects and the list's metadata.
pub(crate) fn select(
    context: &Context<'_>,
    options: &ListOptions,
) -> Result<(Vec<Bytes>, ListMeta), ApiError> {
    let kind = context.shown;
    let prefix = prefix(context);
    let within = narrowed(context, options, &prefix);
    let Start { mut after, mut at, limit } = start(context, options, &prefix)?;
    let everything = options.selects_all();
    let mut items = Vec::new();
    loop {
        let chunk = if everything { limit } else { CHUNK };
        let page = read(
            context,
            options,
            &within,
            &StoreList { after: after.as_deref(), limit: chunk, at },
        )?;
        at = Some(page.revision);
        let last = page.entries.last().map(|entry| entry.key.to_string());
        for (index, entry) in page.entries.iter().enumerate() {
            if everything || options.selects(kind, &document::decode(&entry.value)) {
                items.push(entry.value.clone());
            }
            let more = page.more || index + 1 < page.entries.len();
            if limit > 0 && items.len() == limit && more {
                let remaining = everything.then_some(page.remaining);
                let token = Token::new(page.revision, &prefix, &entry.key);
                return Ok((items, meta(context, page.revision, token.render(), remaining)));
            }
        }
        if !page.more {
            return Ok((items, meta(context, page.revision, String::new(), None)));
        }
        after = last;
    }
}

fn read(
    context: &Context<'_>,
    options: &ListOptions,
    prefix: &str,
    query: &StoreList<'_>,
) -> Result<Page, ApiError> {
    context.services.store.list(prefix, query).map_err(|error| match error {
        ReadError::TooOld { .. } if options.continue_token.is_empty() => {
            ApiError::expired("The resourceVersion for the provided list is too old.")
        }
        ReadError::TooOld { .. } => snapshot_gone(&options.continue_token),
        ReadError::Future { .. } => {
            ApiError::unclassified("etcdserver: mvcc: required revision is a future revision")
        }
    })
}

/// 410 with a token that continues at the same key in the current state.
fn snapshot_gone(continue_token: &str) -> ApiError {
    let Ok(token) = Token::parse(continue_token) else {
        return ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
        );
    };
    ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    )
    .continued_by(&token.inconsistent().render())
}

/// The prefix that is worth looking at: one object's where the selection names it.
pub(crate) fn narrowed(context: &Context<'_>, options: &ListOptions, collection: &str) -> String {
    let kind = context.kind;
    match options.single_name() {
        Some(name) if !kind.namespaced || context.path.namespace.is_some() => {
            format!("{collection}{name}")
        }
        _ => collection.to_owned(),
    }
}

/// Where the objects of the request's collection are.
pub(crate) fn prefix(context: &Context<'_>) -> String {
    context.kind.prefix_in(context.path.namespace)
}

fn meta(
    context: &Context<'_>,
    revision: Revision,
    continue_token: String,
    remaining: Option<usize>,
) -> ListMeta {
    let kind = context.kind;
    let self_link = kind.strategy.self_link().then(|| kind.collection_path(context.path.namespace));
    ListMeta { resource_version: revision.to_string(), continue_token, remaining, self_link }
}
