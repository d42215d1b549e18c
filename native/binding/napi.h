#pragma once

// While a thread of JavaScript's is being ended, no call of Node-API succeeds, nor can its failure be thrown any more:
// the exception is then let go of, instead of ending the process. Asked for before the header is read, everywhere.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>
