#include "core/base/object_count.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <type_traits>

#include "tests/support/object_tally.h"

namespace denoise {
namespace {

struct Thing {
  CountedObject counted;
};

TEST(ObjectCount, CountsAnObjectFromItsCreationToItsDestruction) {
  ObjectTally count;
  {
    const Thing one{CountedObject(&count)}, another{CountedObject(&count)};
    EXPECT_EQ(count.created, 2);
    EXPECT_EQ(count.destroyed, 0);
  }
  EXPECT_EQ(count.created, 2);
  EXPECT_EQ(count.destroyed, 2);
}

TEST(ObjectCount, CountsAnObjectWhoseConstructorThrows) {
  struct Throws {
    explicit Throws(ObjectCount* count) : counted(count) { throw std::runtime_error("no"); }
    CountedObject counted;
  };
  ObjectTally count;
  EXPECT_THROW(Throws{&count}, std::runtime_error);
  EXPECT_EQ(count.created, 1);
  EXPECT_EQ(count.destroyed, 1);
}

// A copy would be destroyed without having been created.
TEST(ObjectCount, AnObjectThatIsCountedHasNoCopies) {
  EXPECT_FALSE(std::is_copy_constructible_v<Thing>);
  EXPECT_FALSE(std::is_move_constructible_v<Thing>);
  EXPECT_FALSE(std::is_copy_assignable_v<Thing>);
}

TEST(ObjectCount, MayBeAbsent) {
  const Thing uncounted{CountedObject()};
  EXPECT_EQ(sizeof(uncounted), sizeof(void*));
}

}  // namespace
}  // namespace denoise
