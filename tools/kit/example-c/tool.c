// A whole tool component in C, as an example: counts the words of a text file.

#include "tool.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "count_words_c"
#define PATH_BYTES_MAX 4096

// What is returned is freed after the call, so every text of it is a copy.
static void text(tool_string_t *to, const char *from) { tool_string_dup(to, from); }

void exports_forerun_tool_tools_list(exports_forerun_tool_tools_list_tool_t *ret) {
    ret->len = 1;
    ret->ptr = calloc(1, sizeof *ret->ptr);
    exports_forerun_tool_tools_tool_t *tool = ret->ptr;
    text(&tool->name, NAME);
    text(&tool->title, "Count words");
    text(&tool->description, "Counts the words of a text file. Example: {\"path\": \"README.md\"}.");
    text(&tool->input_schema,
         "{\"type\": \"object\", \"required\": [\"path\"], \"additionalProperties\": false,"
         " \"properties\": {\"path\": {\"type\": \"string\","
         " \"description\": \"The file, relative to /workspace.\"}}}");
    tool->annotations.read_only = true;
    tool->annotations.idempotent = true;
    tool->deterministic = true;
    tool->speculation = EXPORTS_FORERUN_TOOL_TOOLS_SPECULATION_PURE;
}

// The value of `path` in arguments that were checked against the schema already: an object
// with this one string. Gives up on what it does not know.
static bool path_of(const tool_string_t *arguments, char path[PATH_BYTES_MAX]) {
    const char *at = (const char *)arguments->ptr, *end = at + arguments->len;
    const char *colon = memchr(at, ':', end - at);
    const char *in = colon ? memchr(colon, '"', end - colon) : NULL;
    if (!in) return false;
    size_t len = 0;
    for (in++; in < end && len < PATH_BYTES_MAX - 1; in++) {
        if (*in == '"') {
            path[len] = '\0';
            return true;
        }
        if (*in == '\\' && (++in == end || !strchr("\"\\/", *in))) return false;
        path[len++] = *in;
    }
    return false;
}

static void answer(exports_forerun_tool_tools_output_t *ret, const char *words, bool is_error) {
    memset(ret, 0, sizeof *ret);
    ret->content.len = 1;
    ret->content.ptr = calloc(1, sizeof *ret->content.ptr);
    ret->content.ptr->tag = EXPORTS_FORERUN_TOOL_TOOLS_CONTENT_TEXT;
    text(&ret->content.ptr->val.text, words);
    ret->is_error = is_error;
}

bool exports_forerun_tool_tools_call(tool_string_t *name, tool_string_t *arguments,
                                     exports_forerun_tool_tools_output_t *ret,
                                     tool_string_t *err) {
    char path[PATH_BYTES_MAX], full[PATH_BYTES_MAX + 16], said[PATH_BYTES_MAX + 128];
    if (name->len != strlen(NAME) || memcmp(name->ptr, NAME, name->len) != 0) {
        text(err, "there is no such tool");
        return false;
    }
    if (!path_of(arguments, path)) {
        answer(ret, "cannot read this path", true);
        return true;
    }
    snprintf(full, sizeof full, "/workspace/%s", path);
    FILE *file = fopen(full, "r");
    if (!file) {
        snprintf(said, sizeof said, "cannot read %s: %s", path, strerror(errno));
        answer(ret, said, true);
        return true;
    }
    unsigned long words = 0;
    bool inside = false;
    for (int c; (c = getc(file)) != EOF; inside = !isspace(c)) words += !inside && !isspace(c);
    bool failed = ferror(file);
    fclose(file);
    if (failed) {
        snprintf(said, sizeof said, "cannot read all of %s", path);
    } else {
        snprintf(said, sizeof said, "%lu words", words);
    }
    answer(ret, said, failed);
    return true;
}
