#include "server/wire_fault.h"

unsigned wire_fault_code(enum wire_fault fault)
{
    static const unsigned short codes[] = {
#define WIRE_FAULT_CODE(name, code, text, hint) [name] = (code),
        WIRE_FAULT_MAP(WIRE_FAULT_CODE)
#undef WIRE_FAULT_CODE
    };
    return codes[fault];
}

const char *wire_fault_text(enum wire_fault fault)
{
    static const char *const texts[] = {
#define WIRE_FAULT_TEXT(name, code, text, hint) [name] = (text),
        WIRE_FAULT_MAP(WIRE_FAULT_TEXT)
#undef WIRE_FAULT_TEXT
    };
    return texts[fault];
}

const char *wire_fault_hint(enum wire_fault fault)
{
    static const char *const hints[] = {
#define WIRE_FAULT_HINT(name, code, text, hint) [name] = (hint),
        WIRE_FAULT_MAP(WIRE_FAULT_HINT)
#undef WIRE_FAULT_HINT
    };
    return hints[fault];
}

enum status wire_fault_error(enum wire_fault fault, struct error *err)
{
    error_set(err, STATUS_INVALID, "%s", wire_fault_text(fault));
    return error_hint(err, "%s", wire_fault_hint(fault));
}
