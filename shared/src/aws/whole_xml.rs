//! An answer of RDS counts only if it is whole.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use xmlparser::{ElementEnd, Token, Tokenizer};

/// Refuses an answer of RDS that is not XML from beginning to end.
///
/// The SDK takes what it can read of one that is cut short or damaged: a listing without the entries, and without the
/// marker, that would have come after.
#[derive(Debug)]
pub(super) struct WholeXml;

impl Intercept for WholeXml {
    fn name(&self) -> &'static str {
        "WholeXml"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.output_or_error().is_err() {
            return Ok(()); // it says more than we would
        }
        let body = context.response().body().bytes().unwrap_or_default();
        whole_xml(std::str::from_utf8(body)?)
    }
}

/// `Err` unless every element that is opened is closed, and nothing is out of place.
fn whole_xml(xml: &str) -> Result<(), BoxError> {
    let mut open = Vec::new();
    for token in Tokenizer::from(xml) {
        match token? {
            Token::ElementStart { prefix, local, .. } => open.push((prefix, local)),
            Token::ElementEnd { end, .. } => match end {
                ElementEnd::Open => {}
                ElementEnd::Empty => {
                    open.pop();
                }
                ElementEnd::Close(prefix, local) => {
                    let opened = open.pop();
                    if opened.map(|(p, l)| (p.as_str(), l.as_str()))
                        != Some((prefix.as_str(), local.as_str()))
                    {
                        return Err(format!("</{local}> closes another element").into());
                    }
                }
            },
            // The SDK stops reading at an attribute that it cannot unescape.
            Token::Attribute { local, value, .. } if value.contains('&') => {
                return Err(format!("a reference in attribute {local}").into());
            }
            _ => {}
        }
    }
    match open.last() {
        Some((_, local)) => Err(format!("the answer ends within <{local}>").into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_rds_is_read_whole_or_not_at_all() {
        let whole = "<?xml version=\"1.0\"?>\n<r:A xmlns:r=\"urn\"><B>1 &amp; 2</B><C/></r:A>\n";
        assert!(whole_xml(whole).is_ok());
        for (found, damaged, why) in [
            ("</r:A>\n", "", "ends within <A>"),
            ("</B><C/></r:A>\n", "", "ends within <B>"),
            ("</B>", "</D>", "</D> closes another"),
            ("</r:A>", "</A>", "</A> closes another"),
            ("<C/>", "<C", ""),
            ("1", "\u{1}", ""),
            ("urn", "&urn;", "a reference in attribute r"),
        ] {
            let error = whole_xml(&whole.replace(found, damaged)).unwrap_err();
            assert!(error.to_string().contains(why), "{damaged:?}: {error}");
        }
    }
}
