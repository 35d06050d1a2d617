// ROBOTIS' slave (Dynamixel2Arduino, src/utility/slave.cpp) as one motor, id 1, on standard input and output.
// Static, as its control table is not initialised otherwise.
#include <poll.h>
#include <unistd.h>

#include "slave.h"

DXLPortHandler::DXLPortHandler() : open_state_(false) {}
bool DXLPortHandler::getOpenState() { return open_state_; }
void DXLPortHandler::setOpenState(bool state) { open_state_ = state; }

class Pipe : public DXLPortHandler {
 public:
  void begin() override { setOpenState(true); }
  void end() override { setOpenState(false); }
  int available() override {
    pollfd input{0, POLLIN, 0};
    return poll(&input, 1, 0) > 0 && (input.revents & POLLIN);
  }
  int read() override {
    uint8_t byte;
    return ::read(0, &byte, 1) == 1 ? byte : -1;
  }
  size_t write(uint8_t byte) override { return ::write(1, &byte, 1); }
  size_t write(uint8_t* bytes, size_t count) override { return ::write(1, bytes, count); }
};

static Pipe port;
static int32_t goal = 0, present = 0;
static uint8_t torque = 0;

int main() {
  port.begin();
  static DYNAMIXEL::Slave slave(port, static_cast<uint16_t>(1060));
  slave.setFirmwareVersion(45);
  slave.setID(1);
  slave.addControlItem(64, torque);
  slave.addControlItem(116, goal);
  slave.addControlItem(132, present);
  for (;;) {
    pollfd input{0, POLLIN, 0};
    if (poll(&input, 1, 1000) > 0 && (input.revents & POLLHUP) && !(input.revents & POLLIN)) return 0;
    slave.processPacket();
    present = goal;
  }
}
