#include "server/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/support/raw_connection.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int64_t kMaxBody = 1000;

class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() {
    options_.connections.new_per_address.burst = 1e9;
    options_.body_bytes_max = 1 << 20;
    options_.handler = [this](HttpExchange& exchange) { return Serve(exchange); };
  }

  ~HttpServerTest() override {
    if (server_) server_->Stop();
  }

  void Start() {
    auto sockets = ListeningSockets::Open(*ParseListenAddress("127.0.0.1:0"));
    ASSERT_TRUE(sockets.ok()) << sockets.status();
    address_ = sockets->address();
    auto server = HttpServer::Start(*std::move(sockets), options_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // Echoes bodies, and does what the path says.
  Task<void> Serve(HttpExchange& exchange) {
    if (exchange.path() == "/throw") throw std::runtime_error("a fault");
    if (exchange.path() == "/throw-on-pool") {
      const auto fail = [] { throw std::runtime_error("a fault"); };
      co_return co_await RunOn(pool_, fail);
    }
    if (exchange.path() == "/nothing") co_return;
    if (exchange.path() == "/stream") co_return co_await Stream(exchange);
    if (exchange.path() == "/wait") co_return co_await Wait(exchange);
    const absl::StatusOr<std::string> body = co_await exchange.ReadBody(kMaxBody);
    if (absl::IsCancelled(body.status())) co_return;
    const HttpResponse response =
        body.ok() ? PlainText(200, absl::StrCat(std::string(exchange.method()), " ",
                                                std::string(exchange.path()), " [", *body, "]"))
                  : PlainText(absl::IsResourceExhausted(body.status()) ? 413 : 400,
                              std::string(body.status().message()));
    co_await exchange.Send(response);
  }

  static Task<void> Stream(HttpExchange& exchange) {
    const HttpResponse head;
    bool is_there = co_await exchange.Begin(head);
    for (int i = 0; i < 3 && is_there; ++i) {
      const std::string part = absl::StrCat("part ", i);
      is_there = co_await exchange.Write(part);
    }
    co_await exchange.End();
  }

  // Until the client leaves.
  Task<void> Wait(HttpExchange& exchange) {
    boost::asio::steady_timer gone(co_await boost::asio::this_coro::executor);
    gone.expires_at(boost::asio::steady_timer::time_point::max());
    exchange.WatchClient([&gone] { gone.cancel(); });
    waiting_.Notify();
    boost::system::error_code ignored;
    co_await gone.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
    left_.Notify();
  }

  WorkPool pool_{/*threads=*/1};
  HttpServer::Options options_;
  std::string address_;
  absl::Notification waiting_, left_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, ServesOneRequestAfterTheOther) {
  Start();
  RawConnection client(address_);
  for (int i = 0; i < 3; ++i) {
    client.Send("GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n");
    const std::string answer = client.ReadAnswer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("GET /a []\n"));
    EXPECT_THAT(answer, Not(HasSubstr("Connection: close")));
  }
}

TEST_F(HttpServerTest, ReadsBodiesInWhateverPiecesTheyCome) {
  Start();
  const std::string request =
      "POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
      "POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2\r\nhe\r\n3;extension=1\r\nllo\r\n0\r\nTrailer: x\r\n\r\n";
  RawConnection whole(address_), bytewise(address_);
  whole.Send(request);
  for (const char byte : request) bytewise.Send({&byte, 1});
  for (RawConnection* client : {&whole, &bytewise}) {
    EXPECT_THAT(client->ReadAnswer(), HasSubstr("POST /length [hello]"));
    EXPECT_THAT(client->ReadAnswer(), HasSubstr("POST /chunked [hello]"));
  }
}

TEST_F(HttpServerTest, AnswersHeadWithoutABody) {
  Start();
  RawConnection client(address_);
  client.Send(
      "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answers = client.ReadToEnd();
  EXPECT_THAT(answers, Not(HasSubstr("HEAD /a")));
  EXPECT_THAT(answers, HasSubstr("GET /b"));
}

TEST_F(HttpServerTest, AsksForABodyThatWaitsForThat) {
  Start();
  RawConnection client(address_);
  client.Send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("hi");
  EXPECT_THAT(client.ReadAnswer(), HasSubstr("[hi]"));
}

TEST_F(HttpServerTest, StreamsInChunksOrUntilTheEnd) {
  Start();
  RawConnection client(address_);
  client.Send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("\r\n0\r\n\r\n"), HasSubstr("6\r\npart 0\r\n6\r\npart 1\r\n"));
  client.Send("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.ReadToEnd(), HasSubstr("\r\n\r\npart 0part 1part 2"));
}

TEST_F(HttpServerTest, TellsTheHandlerThatItsClientHasLeft) {
  Start();
  {
    RawConnection client(address_);
    client.Send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    waiting_.WaitForNotification();
  }
  left_.WaitForNotification();
}

TEST_F(HttpServerTest, LimitsHeadsAndBodies) {
  Start();
  RawConnection head(address_), body(address_), chunked(address_);
  head.Send("GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(20'000, 'a') + "\r\n\r\n");
  EXPECT_THAT(head.ReadToEnd(), StartsWith("HTTP/1.1 431 "));
  body.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + std::string(5000, 'a'));
  EXPECT_THAT(body.ReadAnswer(), StartsWith("HTTP/1.1 413 "));
  chunked.Send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
  EXPECT_THAT(chunked.ReadToEnd(), StartsWith("HTTP/1.1 400 "));
}

TEST_F(HttpServerTest, LimitsTheBodiesOfAllRequestsTogether) {
  options_.body_bytes_max = 300;
  Start();
  RawConnection client(address_);  // whose next request comes after all of the last
  const auto post = [&](size_t bytes) {
    client.Send(absl::StrCat("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ", bytes, "\r\n\r\n",
                             std::string(bytes, 'a')));
    return client.ReadAnswer();
  };
  for (int i = 0; i < 5; ++i) EXPECT_THAT(post(300), StartsWith("HTTP/1.1 200 ")) << "given back";
  EXPECT_THAT(post(301), HasSubstr("the bodies of other requests take all the memory"));
}

TEST_F(HttpServerTest, RefusesWhatIsNoHttp) {
  Start();
  for (const char* bytes :
       {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01", "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nA b: c\r\n\r\n"}) {
    RawConnection client(address_);
    client.Send(bytes);
    client.Finish();
    EXPECT_THAT(client.ReadToEnd(), StartsWith("HTTP/1.1 400 ")) << bytes;
  }
}

TEST_F(HttpServerTest, AFaultOfAHandlerEndsItsConnectionAlone) {
  Start();
  RawConnection forgetful(address_), other(address_);
  for (const char* path : {"/throw", "/throw-on-pool"}) {
    RawConnection faulty(address_);
    faulty.Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: x\r\n\r\n"));
    const std::string answer = faulty.ReadToEnd();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 "));
    EXPECT_THAT(answer, Not(HasSubstr("a fault")));
  }
  forgetful.Send("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(forgetful.ReadAnswer(), StartsWith("HTTP/1.1 500 "));
  other.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(other.ReadAnswer(), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, RefusesWhatAProxyCouldUnderstandDifferently) {
  Start();
  for (const char* headers :
       {"Host: x\r\nTransfer-Encoding: xchunked\r\n",
        "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: x\r\nHost: y\r\n", ""}) {
    RawConnection client(address_);
    client.Send(absl::StrCat("POST /outer HTTP/1.1\r\n", headers,
                             "\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"));
    const std::string answers = client.ReadToEnd();
    EXPECT_THAT(answers, StartsWith("HTTP/1.1 400 ")) << headers;
    EXPECT_THAT(answers, Not(HasSubstr("/hidden"))) << headers;
  }
  RawConnection old(address_);
  old.Send("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  EXPECT_THAT(old.ReadToEnd(), StartsWith("HTTP/1.1 400 "));
}

TEST_F(HttpServerTest, LimitsWhatIsBetweenChunks) {
  Start();
  for (const std::string& endless :
       {"1;" + std::string(100'000, 'a'), "0\r\nTrailer: " + std::string(100'000, 'a')}) {
    RawConnection client(address_);
    client.Send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + endless);
    EXPECT_THAT(client.ReadAnswer(), StartsWith("HTTP/1.1 400 "));
  }
}

TEST_F(HttpServerTest, NoticesThatAClientLeavesThatHasSentItsNextRequest) {
  Start();
  {
    RawConnection client(address_);
    client.Send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    waiting_.WaitForNotification();
  }
  left_.WaitForNotification();
}

TEST_F(HttpServerTest, ARequestThatIsCutShortIsNoFaultOfTheServer) {
  Start();
  RawConnection client(address_);
  client.Send("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{}");
  client.Finish();
  EXPECT_EQ(client.ReadToEnd(), "");
}

TEST_F(HttpServerTest, ClosesConnectionsThatAskForNothing) {
  options_.times.head = options_.times.block = absl::Milliseconds(50);
  Start();
  RawConnection silent(address_), half_a_head(address_), half_a_body(address_);
  half_a_head.Send("GET / HT");
  half_a_body.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_EQ(silent.ReadToEnd(), "");
  EXPECT_EQ(half_a_head.ReadToEnd(), "");
  EXPECT_THAT(half_a_body.ReadToEnd(), Not(HasSubstr(" 200 ")));
}

TEST_F(HttpServerTest, ClosesConnectionsThatAreIdle) {
  options_.times.idle = absl::Milliseconds(50);
  Start();
  RawConnection idle(address_);
  idle.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(idle.ReadToEnd(), HasSubstr(" 200 ")) << "answered, then closed";
}

TEST_F(HttpServerTest, StopsWhateverItsClientsDo) {
  Start();
  RawConnection silent(address_), waiting(address_), half_a_body(address_);
  waiting.Send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  half_a_body.Send(
      "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  half_a_body.ReadUntil("100 Continue");
  waiting_.WaitForNotification();
  server_->Stop();
  EXPECT_TRUE(left_.HasBeenNotified());
  EXPECT_EQ(silent.ReadToEnd(), "");
}

TEST_F(HttpServerTest, WhoAsksForNothingMakesRoom) {
  options_.connections.connections = 2;
  Start();
  RawConnection waiting(address_);
  waiting.Send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  waiting_.WaitForNotification();
  RawConnection silent(address_);
  silent.Send("GET / HT");
  RawConnection newcomer(address_);
  newcomer.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(newcomer.ReadAnswer(), HasSubstr(" 200 "));
  EXPECT_EQ(silent.ReadToEnd(), "");
  EXPECT_FALSE(left_.HasBeenNotified()) << "what is being answered keeps its place";
}

TEST_F(HttpServerTest, WaitsForAnswersBeforeItCloses) {
  Start();
  RawConnection client(address_);
  client.Send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  waiting_.WaitForNotification();
  server_->WaitUntilAnswered(absl::Now() + absl::Milliseconds(20));  // in vain
  client.Close();
  left_.WaitForNotification();
  server_->WaitUntilAnswered(absl::InfiniteFuture());
}

}  // namespace
}  // namespace denoise
