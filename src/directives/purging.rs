//! The directives of purges.

use super::{invalid, set_once, word};
use crate::conf::{LocationConf, MainConf};
use crate::sys::conf::{ConfigContext, ConfigError};
use crate::sys::raw::ngx_str_t;
use pagecache_core::purge::Zone;
use std::rc::Rc;

/// Strings: a PURGE is one if any of them is neither empty nor 0.
pub fn set_purge(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let conditions: Rc<[_]> =
        words.iter().map(|text| cf.compile(text)).collect::<Result<_, _>>()?;
    conf.purge_place = Some(cf.place());
    set_once(&mut conf.given.purge, conditions)
}

pub fn set_purge_zone(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let text = word(words)?;
    let zone = text.to_str().ok().and_then(Zone::new).ok_or_else(|| {
        invalid(text, "a name of at most 128 letters, digits and signs other than spaces and %")
    })?;
    let main = cf.main_conf::<MainConf>().ok_or_else(ConfigError::no_memory)?;
    conf.purge_place = Some(cf.place());
    set_once(&mut conf.given.purge_zone, Some(main.purge_zone(zone)))
}
