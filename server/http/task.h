// Coroutines of the HTTP listener.
#pragma once

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstddef>
#include <exception>
#include <memory>
#include <utility>  // which Asio's header needs

#include "server/rpc/work_pool.h"

namespace denoise {

// Runs on the strand of a connection, so that its parts need no locks.
//
// g++ 12 destroys a temporary twice that is an argument within a co_await expression and has a
// destructor. So tasks take references, views and numbers, and refer to variables of their callers,
// which wait for them.
template <class T>
using Task = boost::asio::awaitable<T>;

// Runs `work` on the pool, for what is slow: other connections would wait for it on the strand.
// What it throws, the task throws.
template <class Work>
Task<void> RunOn(WorkPool& pool, const Work& work) {
  const auto initiate = [&pool, &work](auto handler) {
    // A std::function must be copyable, and the handler is not.
    const auto go_on = std::make_shared<decltype(handler)>(std::move(handler));
    pool.Schedule([&work, go_on] {
      std::exception_ptr failure;
      try {
        work();
      } catch (...) {
        failure = std::current_exception();
      }
      boost::asio::post(boost::asio::get_associated_executor(*go_on),
                        [go_on, failure] { (*go_on)(failure); });
    });
  };
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>,
                                       void(std::exception_ptr)>(initiate,
                                                                 boost::asio::use_awaitable);
}

// Runs `work`, which handles so many bytes, on the pool if they are at least 64 KiB, and inline
// otherwise.
template <class Work>
Task<void> RunBySize(size_t bytes, WorkPool& pool, const Work& work) {
  constexpr size_t kManyBytes = 64 << 10;
  if (bytes >= kManyBytes) co_return co_await RunOn(pool, work);
  work();
}

}  // namespace denoise
