// The tables of the server's SQLite file, and how older versions of them are upgraded.
#pragma once

#include <SQLiteCpp/Database.h>

#include <span>

namespace denoise {

// "dnoi": marks our files.
inline constexpr int kApplicationId = 0x646e6f69;

// Entry i upgrades the tables from version i to version i + 1. Entries are only added, never
// changed.
std::span<const char* const> Migrations();

}  // namespace denoise
