#include "support/token.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

#include "base/bytes.h"
#include "base/hex.h"

namespace kubedr::test {
namespace {

constexpr int kNumberBytes = 32;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

void require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("token: ") + what + " failed");
}

// As in tokens: another alphabet, without padding.
std::string base64_url(ByteView bytes) {
  std::string encoded = to_base64(bytes);
  std::replace(encoded.begin(), encoded.end(), '+', '-');
  std::replace(encoded.begin(), encoded.end(), '/', '_');
  encoded.erase(std::min(encoded.find('='), encoded.size()));
  return encoded;
}

std::string base64_url(const Json& value) {
  return base64_url(as_bytes(value.dump()));
}

Key read_key(const std::string& pem) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  require(key != nullptr, "reading a key");
  return key;
}

// OpenSSL gives ASN.1, a token has the bare numbers.
std::array<unsigned char, 2 * kNumberBytes> sign(EVP_PKEY& key, std::string_view text) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  std::array<unsigned char, 128> der{};
  std::size_t size = der.size();
  const auto* message = reinterpret_cast<const unsigned char*>(text.data());
  require(EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, &key) == 1 &&
              EVP_DigestSign(context.get(), der.data(), &size, message, text.size()) == 1,
          "signing");
  const unsigned char* at = der.data();
  const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> signature(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)), ECDSA_SIG_free);
  require(signature != nullptr, "reading a signature");
  std::array<unsigned char, 2 * kNumberBytes> numbers{};
  const auto put = [](const BIGNUM* number, unsigned char* to) {
    require(BN_bn2binpad(number, to, kNumberBytes) == kNumberBytes, "a signature's number");
  };
  put(ECDSA_SIG_get0_r(signature.get()), numbers.data());
  put(ECDSA_SIG_get0_s(signature.get()), numbers.data() + kNumberBytes);
  return numbers;
}

std::string coordinate(const EVP_PKEY& key, const char* name) {
  BIGNUM* read = nullptr;
  require(EVP_PKEY_get_bn_param(&key, name, &read) == 1, "reading a coordinate");
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(read, BN_free);
  std::array<unsigned char, kNumberBytes> bytes{};
  require(BN_bn2binpad(number.get(), bytes.data(), kNumberBytes) == kNumberBytes, "a coordinate");
  return base64_url(ByteView(bytes));
}

}  // namespace

std::string make_token(const std::string& key_pem, const Json& claims) {
  const Key key = read_key(key_pem);
  const std::string text = base64_url(Json{{"alg", "ES256"}}) + "." + base64_url(claims);
  return text + "." + base64_url(ByteView(sign(*key, text)));
}

Json public_jwk(const std::string& key_pem) {
  const Key key = read_key(key_pem);
  return {{"kty", "EC"},
          {"crv", "P-256"},
          {"alg", "ES256"},
          {"use", "sig"},
          {"x", coordinate(*key, OSSL_PKEY_PARAM_EC_PUB_X)},
          {"y", coordinate(*key, OSSL_PKEY_PARAM_EC_PUB_Y)}};
}

}  // namespace kubedr::test
