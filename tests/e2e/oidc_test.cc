// OpenID Connect: a token that has expired is renewed at its issuer and written to the kubeconfig,
// as kubectl does it, and the two go on from what the other one wrote.

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/hex.h"
#include "base/text.h"
#include "base/yaml.h"
#include "e2e/faults.h"
#include "e2e/kubectl_stage.h"
#include "support/server.h"
#include "support/token.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kWhoAmI[] = "jane";
constexpr char kClientSecret[] = "s3cret of the client";

// Gives a new pair of tokens for the last refresh token that it gave, once.
class Issuer {
 public:
  Issuer()
      : signer_(authority_.issue({"signer"})),
        server_(ServerTls{authority_.issue({"issuer"}), authority_.ca_pem()},
                [this](const SeenRequest& request) { return answer(request); }) {}

  std::string url() const { return fmt::format("https://127.0.0.1:{}", server_.port()); }

  const std::string& ca_pem() const { return authority_.ca_pem(); }

  std::string token(seconds valid) const {
    const auto now =
        std::chrono::duration_cast<seconds>(std::chrono::system_clock::now().time_since_epoch());
    return make_token(signer_.key_pem, {{"iss", url()},
                                        {"aud", "kubedr"},
                                        {"sub", kWhoAmI},
                                        {"iat", (now - seconds(7200)).count()},
                                        {"exp", (now + valid).count()}});
  }

  // What it takes next.
  std::string refresh_token() const {
    const std::lock_guard guard(mutex_);
    return fmt::format("refresh+{}/=", given_);
  }

  // What the token endpoint says instead of tokens; what discovery says instead of the truth.
  void refuse(std::string answer) { refusal_ = std::move(answer); }

  void hide(std::string answer) { discovery_ = std::move(answer); }

  void be_slow(milliseconds pause) { pause_ = pause; }

  void take_secrets_in_body() { in_body_ = true; }

  int renewals() const { return static_cast<int>(renewals_seen().size()); }

  // Who asked for tokens, and how: header and form.
  std::vector<std::string> renewals_seen() const {
    std::vector<std::string> seen;
    for (const SeenRequest& request : server_.requests()) {
      if (!request.line.starts_with("POST")) continue;
      seen.push_back(fmt::format("{} | {} | {} | {}", request.line, request.header("content-type"),
                                 request.header("authorization"), request.body));
    }
    return seen;
  }

 private:
  std::string answer(const SeenRequest& request) {
    const std::string json = "Content-Type: application/json\r\n";
    if (request.line == "GET /.well-known/openid-configuration") {
      if (!discovery_.empty()) return discovery_;
      const Json metadata = {{"issuer", url()},
                             {"authorization_endpoint", url() + "/auth"},
                             {"token_endpoint", url() + "/token"},
                             {"jwks_uri", url() + "/keys"},
                             {"response_types_supported", {"code"}},
                             {"subject_types_supported", {"public"}},
                             {"id_token_signing_alg_values_supported", {"ES256"}}};
      return http_answer(200, metadata.dump(), json);
    }
    if (request.line == "GET /keys") {
      const Json keys = {{"keys", {public_jwk(signer_.key_pem)}}};
      return http_answer(200, keys.dump(), json);
    }
    if (request.line != "POST /token") return http_answer(404, "no such page");
    std::this_thread::sleep_for(pause_.load());
    if (!refusal_.empty()) return refusal_;
    if (in_body_ && !request.header("authorization").empty()) {
      return http_answer(401, R"({"error":"invalid_client"})", json);
    }
    const std::lock_guard guard(mutex_);
    const std::string wanted = fmt::format("refresh_token=refresh%2B{}%2F%3D", given_);
    if (request.body.find(wanted) == std::string::npos) {
      return http_answer(400, R"({"error":"invalid_grant","error_description":"used before"})",
                         json);
    }
    ++given_;
    const Json tokens = {{"access_token", "unused"},
                         {"token_type", "Bearer"},
                         {"id_token", token(seconds(3600))},
                         {"refresh_token", fmt::format("refresh+{}/=", given_)}};
    return http_answer(200, tokens.dump(), json);
  }

  const Certificates authority_;
  const Certificate signer_;
  mutable std::mutex mutex_;
  int given_ = 0;          // guarded by mutex_
  std::string refusal_;    // set before anybody asks
  std::string discovery_;  // likewise
  bool in_body_ = false;   // likewise
  std::atomic<milliseconds> pause_{milliseconds(0)};
  ScriptedServer server_;  // the last: its threads use all of the above
};

// A user of that issuer, and an API server that takes any token.
class Login {
 public:
  explicit Login(const std::string& secret = kClientSecret) : secret_(secret) {}

  Issuer& issuer() { return issuer_; }

  Stage& stage() { return stage_; }

  std::filesystem::path config() const { return stage_.folder() / "config"; }

  std::filesystem::path lock() const { return stage_.folder() / "config.lock"; }

  // A kubeconfig whose token ends so long from now.
  void write_config(seconds valid = seconds(-60)) {
    write_config({{"id-token", issuer_.token(valid)}, {"refresh-token", issuer_.refresh_token()}});
  }

  void write_config(const Json& more) {
    Json fields = {{"idp-issuer-url", issuer_.url()},
                   {"client-id", "kubedr"},
                   {"idp-certificate-authority-data", to_base64(as_bytes(issuer_.ca_pem()))}};
    if (!secret_.empty()) fields["client-secret"] = secret_;
    fields.merge_patch(more);
    const std::string provider = "auth-provider: {name: oidc, config: " + fields.dump() + "}";
    stage_.folder().write("config", stage_.fill(single(kServer, provider)));
  }

  std::string written(const char* field) const {
    const Json document = parse_yaml(read_text(config()), "config").at(0);
    return document.at("users")[0].at("user").at("auth-provider").at("config").value(field, "");
  }

  std::vector<std::string> kubectl_command() const {
    return {find_server("kubectl").string(),
            "get",
            "--raw",
            "/version",
            "--kubeconfig",
            config().string()};
  }

  std::vector<std::string> our_command() const {
    return {KUBEDR_BINARY, "status", "--kubeconfig", config().string()};
  }

  RunResult kubectl() const { return test::run(kubectl_command(), options()); }

  RunResult ours() const { return test::run(our_command(), options()); }

  ProcessOptions options() const {
    ProcessOptions options;
    options.env["HOME"] = stage_.folder().path().string();
    return options;
  }

 private:
  const std::string secret_;
  Issuer issuer_;
  Stage stage_;
};

}  // namespace

TEST_CASE("oidc: an expired token is renewed and written back, as by kubectl") {
  KUBEDR_NEEDS("kubectl");
  Login login;
  login.write_config();
  // In turns, each with what the other one has left.
  for (int turn = 1; turn <= 4; ++turn) {
    CAPTURE(turn);
    const RunResult result = turn % 2 == 1 ? login.ours() : login.kubectl();
    REQUIRE_MESSAGE(result.ok(), result.err);
    REQUIRE(login.issuer().renewals() == turn);
    CHECK(login.written("refresh-token") == login.issuer().refresh_token());
    CHECK(has(login.stage().told().back(), "Bearer " + login.written("id-token")));
    CHECK(login.written("client-secret") == kClientSecret);
    // What is still good is not renewed.
    REQUIRE(login.ours().ok());
    REQUIRE(login.kubectl().ok());
    REQUIRE(login.issuer().renewals() == turn);
    login.write_config();
  }
  const std::vector<std::string> seen = login.issuer().renewals_seen();
  const auto without_number = [](std::string text) {
    const std::size_t at = text.find("refresh%2B");
    REQUIRE(at != std::string::npos);
    return text.erase(at + 10, 1);
  };
  for (const std::string& line : seen) CHECK(without_number(line) == without_number(seen[1]));
  CHECK(has(seen[0], "Basic "));
}

TEST_CASE("oidc: what else stands in the kubeconfig stays, with its mode") {
  Login login("");
  login.write_config();
  std::filesystem::permissions(login.config(), std::filesystem::perms(0640));
  const Json before = parse_yaml(read_text(login.config()), "config").at(0);
  std::filesystem::rename(login.config(), login.stage().folder() / "real");
  std::filesystem::create_symlink("real", login.config());
  const RunResult result = login.ours();
  REQUIRE_MESSAGE(result.ok(), result.err);
  Json after = parse_yaml(read_text(login.config()), "config").at(0);
  CHECK(after != before);
  for (const char* field : {"id-token", "refresh-token"}) {
    Json& fields = after["users"][0]["user"]["auth-provider"]["config"];
    fields[field] = before["users"][0]["user"]["auth-provider"]["config"][field];
  }
  CHECK(after == before);
  CHECK(std::filesystem::is_symlink(login.config()));
  CHECK(std::filesystem::status(login.config()).permissions() == std::filesystem::perms(0640));
  CHECK(!std::filesystem::exists(login.lock()));
  // A client without a secret has no header to say it in.
  CHECK(has(login.issuer().renewals_seen().at(0), "client_id=kubedr"));
}

TEST_CASE("oidc: of many at once one renews, and all get in") {
  Login login;
  login.write_config();
  login.issuer().be_slow(milliseconds(500));
  std::vector<std::unique_ptr<Process>> all;
  for (int i = 0; i < 5; ++i) {
    all.push_back(std::make_unique<Process>(login.our_command(), login.options()));
  }
  for (const auto& process : all) {
    const auto exit = process->wait(seconds(60));
    REQUIRE(exit);
    CHECK_MESSAGE(exit->code == 0, process->err());
  }
  CHECK(login.issuer().renewals() == 1);
}

TEST_CASE("oidc: a signal between the issuer's answer and the kubeconfig loses no token") {
  Login login;
  login.write_config();
  login.issuer().be_slow(milliseconds(1500));
  Process process(login.our_command(), login.options());
  REQUIRE(eventually([&] { return login.issuer().renewals() == 1; }));
  process.kill(SIGTERM);
  const auto exit = process.wait(seconds(30));
  REQUIRE(exit);
  CHECK_MESSAGE(exit->code == 143, process.err());
  CHECK(login.written("refresh-token") == login.issuer().refresh_token());
  CHECK(login.ours().ok());
  CHECK(login.issuer().renewals() == 1);
}

TEST_CASE("oidc: killed while the issuer is asked, the kubeconfig is as it was") {
  Login login;
  login.write_config();
  const std::string before = read_text(login.config());
  login.issuer().be_slow(milliseconds(1500));
  Process process(login.our_command(), login.options());
  REQUIRE(eventually([&] { return login.issuer().renewals() == 1; }));
  process.kill(SIGKILL);
  REQUIRE(process.wait(seconds(30)));
  CHECK(read_text(login.config()) == before);
  CHECK(!std::filesystem::exists(login.lock()));
}

TEST_CASE("oidc: a kubeconfig that cannot be written is a warning, and we are let in") {
  Login login;
  login.write_config();
  const std::string before = read_text(login.config());
  SUBCASE("somebody else is writing it") {
    login.stage().folder().write("config.lock", "");
  }
  SUBCASE("it has a second document") {
    login.stage().folder().write("config", before + "---\nkind: Config\n");
  }
  const std::string kept = read_text(login.config());
  const RunResult result = login.ours();
  CHECK_MESSAGE(result.ok(), result.err);
  CHECK_MESSAGE(has(result.err, "could not persist new tokens: "), result.err);
  CHECK(read_text(login.config()) == kept);
  CHECK(!std::filesystem::exists(login.config().string() + ".kubedr.tmp"));
}

TEST_CASE("oidc: a lock that somebody left who was killed makes way") {
  Login login;
  login.write_config();
  const auto lock = login.stage().folder().write("config.lock", "");
  std::filesystem::last_write_time(
      lock, std::filesystem::file_time_type::clock::now() - std::chrono::minutes(2));
  const RunResult result = login.ours();
  CHECK_MESSAGE(result.ok(), result.err);
  CHECK(has(result.err, "a lock of somebody who is gone is removed"));
  CHECK(!std::filesystem::exists(lock));
  CHECK(login.written("refresh-token") == login.issuer().refresh_token());
}

TEST_CASE("oidc: a kubeconfig of somebody else, or that is a mount, stays what it is") {
  KUBEDR_NEEDS_RIGHT(::geteuid() == 0, "give files away, and mount");
  Login login("");
  login.write_config();
  const std::string config = login.config().string();
  REQUIRE(::chown(config.c_str(), 4711, 4712) == 0);
  REQUIRE(::chmod(config.c_str(), 0640) == 0);
  SUBCASE("a file") {
    CHECK(login.ours().ok());
  }
  SUBCASE("a mount") {
    const std::string script = fmt::format("mount --bind {0} {0} && exec \"$@\"", config);
    std::vector<std::string> command = {"unshare", "--mount", "sh", "-c", script, "sh"};
    for (const std::string& word : login.our_command()) command.push_back(word);
    const RunResult result = test::run(command, login.options());
    CHECK_MESSAGE(result.ok(), result.err);
    CHECK_MESSAGE(!has(result.err, "warning"), result.err);
  }
  CHECK(login.written("refresh-token") == login.issuer().refresh_token());

  struct stat status {};

  REQUIRE(::stat(config.c_str(), &status) == 0);
  CHECK(status.st_uid == 4711);
  CHECK(status.st_gid == 4712);
  CHECK((status.st_mode & 07777) == 0640);
}

TEST_CASE("oidc: a client whose secret is taken in the body only gets in too") {
  Login login;
  login.issuer().take_secrets_in_body();
  login.write_config();
  CHECK(login.ours().ok());
  CHECK(login.issuer().renewals() == 2);
  CHECK(login.written("refresh-token") == login.issuer().refresh_token());
}

TEST_CASE("oidc: refusals are kubectl's, and the kubeconfig stays as it is") {
  KUBEDR_NEEDS("kubectl");

  struct Refusal {
    std::string name;
    std::function<void(Login&)> prepare;
    const char* expected;
  };

  const Refusal refusals[] = {
      {"a refresh token that was used before",
       [](Login& login) {
         login.write_config({{"refresh-token", "old"}});
       },
       R"(failed to refresh token: oauth2: "invalid_grant" "used before")"},
      {"an issuer that gives no id-token",
       [](Login& login) {
         login.issuer().refuse(http_answer(200, R"({"access_token":"a","token_type":"Bearer"})",
                                           "Content-Type: application/json\r\n"));
       },
       "token response did not contain an id_token"},
      {"an issuer that is none",
       [](Login& login) { login.issuer().hide(http_answer(404, "lost")); },
       "oidc: failed to query metadata endpoint 404"},
      {"an issuer without a place for tokens",
       [](Login& login) { login.issuer().hide(http_answer(200, "{}")); },
       "oidc: discovery object doesn't contain a token_endpoint"},
      {"an issuer that is not trusted",
       [](Login& login) {
         login.write_config(
             {{"refresh-token", "r"},
              {"idp-certificate-authority-data", to_base64(as_bytes(Certificates().ca_pem()))}});
       },
       "certificate"},
      {"nothing to renew it with",
       [](Login& login) {
         login.write_config({{"id-token", login.issuer().token(seconds(-1))}});
       },
       "No valid id-token, and cannot refresh without refresh-token"},
      {"a token that ends in a moment, and nothing to renew it with",
       [](Login& login) {
         login.write_config({{"id-token", login.issuer().token(seconds(5))}});
       },
       "No valid id-token, and cannot refresh without refresh-token"},
      {"no token at all", [](Login& login) { login.write_config(Json::object()); },
       "No valid id-token, and cannot refresh without refresh-token"},
      {"a token that is none",
       [](Login& login) {
         login.write_config({{"id-token", "t"}});
       },
       "ID Token is not a valid JWT"},
      {"no issuer",
       [](Login& login) {
         login.write_config({{"idp-issuer-url", ""}});
       },
       "Must provide idp-issuer-url"},
      {"no client",
       [](Login& login) {
         login.write_config({{"client-id", ""}});
       },
       "Must provide client-id"},
  };
  for (const Refusal& refusal : refusals) {
    CAPTURE(refusal.name);
    Login login;
    login.write_config();
    refusal.prepare(login);
    const std::string before = read_text(login.config());
    const RunResult kubectl = login.kubectl();
    CHECK(kubectl.exit.code == 1);
    CHECK_MESSAGE(has(kubectl.err, refusal.expected), kubectl.err);
    const RunResult ours = login.ours();
    CHECK(ours.exit.code != 0);
    CHECK_MESSAGE(has(ours.err, refusal.expected), ours.err);
    CHECK(login.stage().told().empty());
    CHECK(read_text(login.config()) == before);
    CHECK(!std::filesystem::exists(login.lock()));
  }
}

TEST_CASE("oidc: nothing of it is shown, and completion leaves it alone") {
  Login login;
  const std::vector<std::string> completion = {
      KUBEDR_BINARY, "__complete", "--kubeconfig", login.config().string(), "backup", ""};
  login.write_config(seconds(3600));
  REQUIRE(test::run(completion, login.options()).ok());
  REQUIRE(!login.stage().told().empty());
  const std::size_t told = login.stage().told().size();

  login.write_config();
  const RunResult offered = test::run(completion, login.options());
  CHECK(offered.ok());
  CHECK(offered.err.empty());
  CHECK(login.stage().told().size() == told);
  CHECK(login.issuer().renewals() == 0);

  const std::string first = login.written("id-token");
  std::vector<std::string> command = login.our_command();
  command.emplace_back("-v=9");
  const RunResult result = test::run(command, login.options());
  REQUIRE_MESSAGE(result.ok(), result.err);
  CHECK(has(result.err, "/.well-known/openid-configuration"));
  for (const std::string& secret :
       {first, login.written("id-token"), login.written("refresh-token"), std::string("refresh+0"),
        std::string("refresh%2B"), std::string("Basic "), std::string(kClientSecret),
        std::string("s3cret+of+the+client")}) {
    CHECK(!has(result.out + result.err, secret));
  }
}

TEST_CASE("oidc: a real API server takes a renewed token") {
  KUBEDR_NEEDS("kube-apiserver");
  Issuer issuer;
  const TempDir folder;
  const auto ca = folder.write("issuer.crt", issuer.ca_pem());
  const EtcdServer etcd;
  const KubeApi api(etcd, {},
                    {"--oidc-issuer-url=" + issuer.url(), "--oidc-client-id=kubedr",
                     "--oidc-ca-file=" + ca.string(), "--oidc-username-claim=sub",
                     "--oidc-username-prefix=-", "--oidc-signing-algs=ES256"});
  REQUIRE(test::kubedr({"install", "--kubeconfig", api.kubeconfig().string()}).ok());
  REQUIRE(api.kubectl({"create", "clusterrolebinding", "jane", "--clusterrole=cluster-admin",
                       fmt::format("--user={}", kWhoAmI)})
              .ok());
  const Json fields = {{"idp-issuer-url", issuer.url()},
                       {"client-id", "kubedr"},
                       {"idp-certificate-authority", ca.string()},
                       {"id-token", issuer.token(seconds(-60))},
                       {"refresh-token", issuer.refresh_token()}};
  folder.write("ca.crt", api.ca_pem());
  const std::string config =
      folder
          .write("config",
                 single(fmt::format("server: '{}', certificate-authority: ca.crt", api.url()),
                        "auth-provider: {name: oidc, config: " + fields.dump() + "}"))
          .string();
  // It asks the issuer for the keys now and then, and knows nobody before.
  RunResult result;
  CHECK(eventually(
      [&] {
        result = test::kubedr({"status", "--kubeconfig", config});
        return result.ok();
      },
      seconds(60)));
  CHECK_MESSAGE(result.ok(), result.err);
  CHECK(issuer.renewals() == 1);
}
