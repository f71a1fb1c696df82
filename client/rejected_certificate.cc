#include "client/rejected_certificate.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>

#include <array>
#include <ctime>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"

namespace denoise {
namespace {

using Names = std::unique_ptr<GENERAL_NAMES, CDeleter<GENERAL_NAMES_free>>;

std::string NameText(const GENERAL_NAME& name) {
  if (name.type == GEN_DNS) {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(name.d.dNSName)),
            static_cast<size_t>(ASN1_STRING_length(name.d.dNSName))};
  }
  if (name.type != GEN_IPADD) return "";
  const int family = ASN1_STRING_length(name.d.iPAddress) == 4 ? AF_INET : AF_INET6;
  std::array<char, INET6_ADDRSTRLEN> text;
  const bool is_text = inet_ntop(family, ASN1_STRING_get0_data(name.d.iPAddress), text.data(),
                                 text.size()) != nullptr;
  return is_text ? text.data() : "";
}

// A certificate may hold any text.
std::string Shortened(std::string text) {
  constexpr size_t kMaxBytes = 253;  // of a name in the DNS
  if (text.size() <= kMaxBytes) return text;
  text.resize(kMaxBytes);
  return text + "...";
}

// "" if it has none.
std::string CommonNameOf(const X509* certificate) {
  const X509_NAME* const name = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (index < 0) return "";
  unsigned char* text = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
  if (size < 0) return "";
  std::string common_name(reinterpret_cast<char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return Shortened(std::move(common_name));
}

// The first names that a certificate is for.
std::string NamesOf(const X509* certificate) {
  constexpr size_t kMostNames = 5;
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> texts;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const std::string text = Shortened(NameText(*sk_GENERAL_NAME_value(names.get(), i)));
    if (!text.empty() && texts.size() < kMostNames) texts.push_back(text);
  }
  if (texts.empty()) texts.push_back(CommonNameOf(certificate));
  return texts.front().empty() ? "no host" : absl::StrJoin(texts, ", ");
}

std::string DayOf(const ASN1_TIME* time) {
  tm day{};
  if (ASN1_TIME_to_tm(time, &day) != 1) return "an unknown day";
  return absl::FormatTime("%Y-%m-%d", absl::FromTM(day, absl::UTCTimeZone()), absl::UTCTimeZone());
}

// What is wrong with the certificate itself, to follow the name of its owner.
std::string Fault(const RejectedCertificate& rejection) {
  const X509* const certificate = rejection.certificate.get();
  if (certificate != nullptr && rejection.error == X509_V_ERR_CERT_HAS_EXPIRED) {
    return absl::StrCat("expired on ", DayOf(X509_get0_notAfter(certificate)));
  }
  if (certificate != nullptr && rejection.error == X509_V_ERR_CERT_NOT_YET_VALID) {
    return absl::StrCat("is not valid before ", DayOf(X509_get0_notBefore(certificate)));
  }
  return absl::StrCat("is not accepted: ", X509_verify_cert_error_string(rejection.error));
}

}  // namespace

ConnectionProblem ProblemOfCertificate(const RejectedCertificate& rejection,
                                       const std::string& host) {
  constexpr char kOfServer[] = "the server's certificate ";
  const X509* const certificate = rejection.certificate.get();
  switch (rejection.error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return {kTlsUnknownAuthority,
              absl::StrCat(kOfServer, "is not from an authority that this client trusts (",
                           X509_verify_cert_error_string(rejection.error), ")")};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return {kTlsOtherHost,
              absl::StrCat(kOfServer, "is for ",
                           certificate == nullptr ? "another host" : NamesOf(certificate),
                           ", not for ", host)};
    default:
      break;
  }
  if (rejection.depth > 0) {
    const std::string name = certificate == nullptr ? "" : CommonNameOf(certificate);
    return {kTlsAuthorityInvalid,
            absl::StrCat("the certificate of ", name, name.empty() ? "" : ", ",
                         "an authority above the server's certificate", name.empty() ? " " : ", ",
                         Fault(rejection))};
  }
  const char* const reason = rejection.error == X509_V_ERR_CERT_HAS_EXPIRED ? kTlsExpired
                             : rejection.error == X509_V_ERR_CERT_NOT_YET_VALID
                                 ? kTlsNotYetValid
                                 : kTlsCertificateInvalid;
  return {reason, absl::StrCat(kOfServer, Fault(rejection))};
}

}  // namespace denoise
