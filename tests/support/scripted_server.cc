#include "support/scripted_server.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <stdexcept>
#include <string_view>

#include "base/text.h"

namespace kubedr::test {
namespace {

constexpr int kLookMs = 20;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using X509Ptr = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

void require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("scripted server: ") + what);
}

Bio bio_of(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free};
}

std::string common_name(X509* certificate) {
  std::array<char, 256> name{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name.data(),
                            static_cast<int>(name.size()));
  return name.data();
}

FileDescriptor connect_to(int port) {
  FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (::connect(socket.get(), generic, sizeof address) != 0) return FileDescriptor();
  return socket;
}

SeenRequest parse_head(const std::string& head) {
  SeenRequest request;
  const std::vector<std::string> lines = split(head, '\n');
  request.line = lines.front().substr(0, lines.front().rfind(' '));
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::size_t colon = lines[i].find(':');
    if (colon == std::string::npos) continue;
    request.headers.emplace(to_lower(lines[i].substr(0, colon)), trim(lines[i].substr(colon + 1)));
  }
  return request;
}

}  // namespace

struct Listener::Context {
  explicit Context(const ServerTls& tls) : value(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
    const X509Ptr certificate(
        PEM_read_bio_X509(bio_of(tls.certificate.certificate_pem).get(), nullptr, nullptr, nullptr),
        X509_free);
    const Key key(
        PEM_read_bio_PrivateKey(bio_of(tls.certificate.key_pem).get(), nullptr, nullptr, nullptr),
        EVP_PKEY_free);
    require(certificate != nullptr && key != nullptr, "its certificate or key");
    require(SSL_CTX_use_certificate(value.get(), certificate.get()) == 1, "use certificate");
    require(SSL_CTX_use_PrivateKey(value.get(), key.get()) == 1, "use key");
    if (tls.clients_ca_pem.empty()) return;
    const X509Ptr ca(PEM_read_bio_X509(bio_of(tls.clients_ca_pem).get(), nullptr, nullptr, nullptr),
                     X509_free);
    require(ca != nullptr, "the clients' CA");
    X509_STORE_add_cert(SSL_CTX_get_cert_store(value.get()), ca.get());
    SSL_CTX_add_client_CA(value.get(), ca.get());
    SSL_CTX_set_verify(value.get(), SSL_VERIFY_PEER, nullptr);
    constexpr std::string_view kSession = "kubedr";
    SSL_CTX_set_session_id_context(value.get(),
                                   reinterpret_cast<const unsigned char*>(kSession.data()),
                                   static_cast<unsigned>(kSession.size()));
  }

  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> value;
};

class Listener::Link {
 public:
  Link(FileDescriptor socket, Context* context, const std::atomic<bool>& stopping)
      : socket_(std::move(socket)), ssl_(nullptr, SSL_free), stopping_(stopping) {
    if (context == nullptr) return;
    ssl_.reset(SSL_new(context->value.get()));
    SSL_set_fd(ssl_.get(), socket_.get());
  }

  // False when the client does not go along.
  bool shake_hands() { return !ssl_ || SSL_accept(ssl_.get()) == 1; }

  int fd() const { return socket_.get(); }

  bool has_bytes() const { return ssl_ && SSL_pending(ssl_.get()) > 0; }

  // What is there, once there is something; empty at the end.
  std::string read_some() {
    while (!has_bytes()) {
      pollfd ready{fd(), POLLIN, 0};
      if (stopping_) return {};
      if (poll(&ready, 1, kLookMs) > 0) break;
    }
    std::array<char, 16384> buffer{};
    const int size = static_cast<int>(buffer.size());
    const int count = ssl_ ? SSL_read(ssl_.get(), buffer.data(), size)
                           : static_cast<int>(::recv(fd(), buffer.data(), buffer.size(), 0));
    return count > 0 ? std::string(buffer.data(), static_cast<std::size_t>(count)) : "";
  }

  // So many bytes, fewer at the end.
  std::string read(std::size_t size) {
    while (pending_.size() < size) {
      const std::string more = read_some();
      if (more.empty()) break;
      pending_ += more;
    }
    const std::string bytes = pending_.substr(0, size);
    pending_.erase(0, size);
    return bytes;
  }

  // Through an end mark; empty when that never comes, as in a handshake that nobody will answer.
  std::string read_until(std::string_view mark) {
    std::size_t at = 0;
    while ((at = pending_.find(mark)) == std::string::npos) {
      const std::string more = read_some();
      if (more.empty() || more.find('\0') != std::string::npos) return {};
      pending_ += more;
    }
    return read(at + mark.size());
  }

  bool write(std::string_view text) {
    while (!text.empty()) {
      const auto sent = ssl_ ? SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size()))
                             : ::send(fd(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  std::string server_name() const {
    const char* name = ssl_ ? SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name) : nullptr;
    return name == nullptr ? "" : name;
  }

  std::string client() const {
    const X509Ptr certificate(ssl_ ? SSL_get1_peer_certificate(ssl_.get()) : nullptr, X509_free);
    return certificate ? common_name(certificate.get()) : "";
  }

 private:
  FileDescriptor socket_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
  const std::atomic<bool>& stopping_;
  std::string pending_;
};

Listener::Listener(const std::optional<ServerTls>& tls)
    : context_(tls ? std::make_unique<Context>(*tls) : nullptr),
      socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  require(::bind(socket_.get(), generic, size) == 0 && ::listen(socket_.get(), 16) == 0 &&
              ::getsockname(socket_.get(), generic, &size) == 0,
          "no port");
  port_ = ntohs(address.sin_port);
}

Listener::~Listener() = default;

void Listener::start() {
  acceptor_ = std::jthread([this] { accept_links(); });
}

void Listener::stop() {
  stopping_ = true;
  if (acceptor_.joinable()) acceptor_.join();
  links_.clear();
}

void Listener::accept_links() {
  while (!stopping_) {
    pollfd ready{socket_.get(), POLLIN, 0};
    if (poll(&ready, 1, kLookMs) <= 0) continue;
    const int fd = ::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    links_.emplace_back([this, fd] {
      Link link(FileDescriptor(fd), context_.get(), stopping_);
      if (link.shake_hands()) serve(link);
    });
  }
}

std::string SeenRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

std::string http_answer(int status, const std::string& body, const std::string& headers) {
  return fmt::format("HTTP/1.1 {} X\r\n{}Content-Length: {}\r\n\r\n{}", status, headers,
                     body.size(), body);
}

ScriptedServer::ScriptedServer(const std::optional<ServerTls>& tls, Script script)
    : Listener(tls), script_(std::move(script)) {
  start();
}

ScriptedServer::~ScriptedServer() {
  stop();
}

std::vector<SeenRequest> ScriptedServer::requests() const {
  const std::lock_guard guard(mutex_);
  return requests_;
}

void ScriptedServer::serve(Link& link) {
  for (std::string head = link.read_until("\r\n\r\n"); !head.empty();
       head = link.read_until("\r\n\r\n")) {
    SeenRequest request = parse_head(head);
    request.server_name = link.server_name();
    request.client = link.client();
    const std::string length = request.header("content-length");
    if (!length.empty()) request.body = link.read(std::stoul(length));
    {
      const std::lock_guard guard(mutex_);
      requests_.push_back(request);
    }
    std::string answer = script_(request);
    if (answer.empty()) return;
    // A HEAD's has no body: one would be taken for the next answer.
    if (request.line.starts_with("HEAD ")) answer.resize(answer.find("\r\n\r\n") + 4);
    if (!link.write(answer)) return;
  }
}

ScriptedProxy::ScriptedProxy(const std::optional<ServerTls>& tls, int target_port)
    : Listener(tls), target_port_(target_port) {
  start();
}

ScriptedProxy::~ScriptedProxy() {
  stop();
}

std::vector<std::string> ScriptedProxy::asked() const {
  const std::lock_guard guard(mutex_);
  return asked_;
}

void ScriptedProxy::note(const std::string& text) {
  const std::lock_guard guard(mutex_);
  asked_.push_back(text);
}

bool ScriptedProxy::open_tunnel(Link& link) {
  const SeenRequest request = parse_head("C" + link.read_until("\r\n\r\n"));
  const std::string password = request.header("proxy-authorization");
  note(request.line + (password.empty() ? "" : " " + password));
  return link.write("HTTP/1.1 200 Connection established\r\n\r\n");
}

// RFC 1928: methods, then a request with a name.
bool ScriptedProxy::open_socks(Link& link) {
  const std::string methods = link.read(1);
  link.read(static_cast<unsigned char>(methods.at(0)));
  link.write(std::string_view("\x05\x00", 2));
  const std::string head = link.read(4);
  if (head.size() < 4) return false;
  std::string host;
  if (head[3] == 3) {
    host = link.read(static_cast<unsigned char>(link.read(1).at(0)));
  } else {
    host = fmt::format("an address of {} bytes", link.read(head[3] == 1 ? 4 : 16).size());
  }
  const std::string port = link.read(2);
  note(fmt::format(
      "SOCKS5 {}:{}", host,
      static_cast<unsigned char>(port.at(0)) * 256 + static_cast<unsigned char>(port.at(1))));
  return link.write(std::string_view("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", 10));
}

void ScriptedProxy::serve(Link& link) {
  const std::string first = link.read(1);
  if (first.empty()) return;
  if (!(first == "\x05" ? open_socks(link) : open_tunnel(link))) return;
  const FileDescriptor server = connect_to(target_port_);
  std::array<char, 16384> buffer{};
  while (server.valid() && !stopping()) {
    std::array<pollfd, 2> ready = {pollfd{link.fd(), POLLIN, 0}, pollfd{server.get(), POLLIN, 0}};
    if (!link.has_bytes() && poll(ready.data(), ready.size(), kLookMs) == 0) continue;
    if (link.has_bytes() || ready[0].revents != 0) {
      const std::string bytes = link.read_some();
      if (bytes.empty()) return;
      write_full(server.get(), as_bytes(bytes), "proxy");
    }
    if (ready[1].revents != 0) {
      const ssize_t count = ::recv(server.get(), buffer.data(), buffer.size(), 0);
      if (count <= 0 || !link.write({buffer.data(), static_cast<std::size_t>(count)})) return;
    }
  }
}

}  // namespace kubedr::test
