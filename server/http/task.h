// Coroutines of the HTTP listener.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <utility>  // which Asio's header needs

namespace denoise {

// Runs on the strand of a connection, so that its parts need no locks.
//
// g++ 12 destroys a temporary twice that is an argument within a co_await expression and has a
// destructor. So tasks take references, views and numbers, and refer to variables of their callers,
// which wait for them.
template <class T>
using Task = boost::asio::awaitable<T>;

}  // namespace denoise
