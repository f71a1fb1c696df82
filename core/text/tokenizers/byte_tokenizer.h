// A tokenizer that reads a text byte by byte: CLIP's without its learned merges.
#pragma once

#include "core/text/tokenizers/clip_tokenizer.h"

namespace denoise {

// Files of a tokenizer whose vocabulary is the 512 pieces that CLIP's begins with, each byte inside
// a word and at its end, with CLIP's ids, and the two tokens that mark start and end (49406 and
// 49407). So a text encoder of CLIP's size can read it, and prompts need no vocabulary from
// outside; they have about five times as many tokens as with CLIP's own.
ClipTokenizerFiles ByteTokenizerFiles();

}  // namespace denoise
